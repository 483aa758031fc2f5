#include "c2c/directory_peer_report.h"

#include "base/clock.h"

#define FRESH_S 10 /* a report that is older is nobody's */

GKeyFile *
directory_peer_report_begin(void)
{
  GKeyFile *report = g_key_file_new();
  g_key_file_set_int64(report, "directory", "time", clock_unix_time() / (FRESH_S / 2) * (FRESH_S / 2));
  return report;
}

void
directory_peer_report_add(GKeyFile *report, const IdentityPublic *key, const DirectoryPeerStatus *status,
                          gint64 healed, const char *trouble)
{
  g_autofree char *group = identity_public_to_text(key);
  g_key_file_set_boolean(report, group, "connected", status->connected);
  g_key_file_set_boolean(report, group, "healing", status->healing);
  g_key_file_set_uint64(report, group, "waiting", status->waiting);
  g_key_file_set_int64(report, group, "healed", healed);
  g_key_file_set_uint64(report, group, "sent", status->sent);
  g_key_file_set_uint64(report, group, "taken", status->taken);
  g_key_file_set_uint64(report, group, "refused", status->refused);
  g_key_file_set_string(report, group, "trouble", trouble ? trouble : "");
}

void
directory_peer_report_clear(DirectoryPeerReport *report)
{
  g_clear_pointer(&report->trouble, g_free);
}

void
directory_peer_report_load(const char *path, const IdentityPublic *key, DirectoryPeerReport *report)
{
  g_autoptr(GKeyFile) file = g_key_file_new();
  g_autofree char *group = identity_public_to_text(key);
  *report = (DirectoryPeerReport){0};
  if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, NULL) || !g_key_file_has_group(file, group) ||
      ABS(clock_unix_time() - g_key_file_get_int64(file, "directory", "time", NULL)) > FRESH_S)
    return;
  report->known = TRUE;
  report->connected = g_key_file_get_boolean(file, group, "connected", NULL);
  report->healing = g_key_file_get_boolean(file, group, "healing", NULL);
  report->waiting = (guint)g_key_file_get_uint64(file, group, "waiting", NULL);
  report->healed = g_key_file_get_int64(file, group, "healed", NULL);
  report->sent = g_key_file_get_uint64(file, group, "sent", NULL);
  report->taken = g_key_file_get_uint64(file, group, "taken", NULL);
  report->refused = g_key_file_get_uint64(file, group, "refused", NULL);
  g_autofree char *trouble = g_key_file_get_string(file, group, "trouble", NULL);
  report->trouble = trouble && trouble[0] ? g_steal_pointer(&trouble) : NULL;
}
