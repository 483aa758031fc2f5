/* Orders to a running rig: the table of them, and the client that sends one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "exec.h"
#include "verb.h"

typedef char *Order(Rig *rig, char **words);

static char *
order_cut(Rig *rig, char **words)
{
  shaper_set_state(rig->shaper, SHAPER_CUT);
  return g_strdup("ok");
}

static char *
order_stall(Rig *rig, char **words)
{
  shaper_set_state(rig->shaper, SHAPER_STALLED);
  return g_strdup("ok");
}

static char *
order_resume(Rig *rig, char **words)
{
  shaper_set_state(rig->shaper, SHAPER_OPEN);
  return g_strdup("ok");
}

static char *
order_reset(Rig *rig, char **words)
{
  shaper_reset_connections(rig->shaper, words[0] ? (guint)g_ascii_strtoull(words[0], NULL, 10) : 200);
  return g_strdup("ok");
}

static char *
order_profile(Rig *rig, char **words)
{
  const Profile *profile = words[0] ? profile_find(words[0]) : NULL;
  if (!profile)
    return g_strdup("error: no such profile; `doppel-rig profiles` lists them");
  rig->profile = profile;
  shaper_set_profile(rig->shaper, profile);
  return g_strdup("ok");
}

static char *
order_address(Rig *rig, char **words)
{
  g_autoptr(GError) error = NULL;
  if (!words[0] || !words[1] || (strcmp(words[0], "host") && strcmp(words[0], "device")))
    return g_strdup("error: say which side (host or device) and its new address");
  NetworkSide side = g_str_equal(words[0], "host") ? NETWORK_HOST : NETWORK_DEVICE;
  if (!network_set_address(&rig->network, side, words[1], &error))
    return g_strdup_printf("error: %s", error->message);
  return g_strdup("ok");
}

static char *
order_stats(Rig *rig, char **words)
{
  return rig_report(rig);
}

static const struct {
  const char *name, *arguments, *about;
  Order *order;
} orders[] = {
    {"cut", "", "packets are lost from now on", order_cut},
    {"stall", "", "packets are kept back from now on", order_stall},
    {"resume", "", "the link is whole again", order_resume},
    {"reset", "[MS]", "for 200 ms every TCP segment resets its connection", order_reset},
    {"profile", "NAME", "the link becomes another", order_profile},
    {"address", "host|device ADDRESS", "a side gets another address in place of its own", order_address},
    {"stats", "", "what was measured so far, as JSON", order_stats},
};

char *
rig_obey(Rig *rig, const char *line)
{
  g_auto(GStrv) words = g_strsplit_set(line, " \n", -1);
  guint count = 0;
  for (guint i = 0; words[i]; i++) /* runs of blanks leave empty words */
    if (*words[i])
      words[count++] = words[i];
    else
      g_free(words[i]);
  words[count] = NULL;
  for (gsize i = 0; count && i < G_N_ELEMENTS(orders); i++)
    if (g_str_equal(words[0], orders[i].name))
      return orders[i].order(rig, words + 1);
  return g_strdup("error: no such order; `doppel-rig control --help` lists them");
}

char *
rig_orders_help(void)
{
  GString *text = g_string_new("Orders:\n");
  for (gsize i = 0; i < G_N_ELEMENTS(orders); i++)
    g_string_append_printf(text, "  %-8s %-20s %s\n", orders[i].name, orders[i].arguments, orders[i].about);
  return g_string_free(text, FALSE);
}

static gboolean
send_order(const char *path, const char *order, char **answer, GError **error)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_auto(Fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  char buffer[8192];
  g_strlcpy(address.sun_path, path, sizeof address.sun_path);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    return doppel_error_errno(error, "no rig listens at %s", path);
  if (!io_write_all(fd, order, strlen(order)) || !io_write_all(fd, "\n", 1))
    return doppel_error_errno(error, "cannot send the order");
  gssize length = io_read_all(fd, buffer, sizeof buffer - 1);
  if (length < 0)
    return doppel_error_errno(error, "no answer from the rig");
  *answer = g_strndup(buffer, (gsize)length);
  return TRUE;
}

int
verb_control(int argc, char **argv)
{
  g_autofree char *socket_path = g_strdup(g_getenv("RIG_CONTROL")), *answer = NULL, *help = rig_orders_help();
  GOptionEntry entries[] = {{"socket", 's', 0, G_OPTION_ARG_FILENAME, &socket_path,
                             "the rig's control socket (default: $RIG_CONTROL)", "PATH"},
                            {NULL}};
  g_autoptr(GOptionContext) context =
      g_option_context_new("ORDER [ARGUMENT...] - change the link of a running rig");
  g_autoptr(GError) error = NULL;
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_description(context, help);
  if (!g_option_context_parse(context, &argc, &argv, &error)) {
    g_printerr("doppel-rig: %s\n", error->message);
    return 2;
  }
  if (argc < 2 || !socket_path) {
    g_printerr("doppel-rig: name an order and a rig (--socket or $RIG_CONTROL); control --help says more\n");
    return 2;
  }
  g_autofree char *order = g_strjoinv(" ", argv + 1);
  if (!send_order(socket_path, order, &answer, &error)) {
    g_printerr("doppel-rig: %s\n", error->message);
    return 1;
  }
  gboolean bad = g_str_has_prefix(answer, "error");
  fprintf(bad ? stderr : stdout, "%s\n", answer);
  return bad ? 1 : 0;
}
