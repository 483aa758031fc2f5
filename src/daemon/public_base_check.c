/* Whether the public base has what it says. */
#include "base/clock.h"
#include "base/error.h"
#include "daemon/public_base_private.h"

#define TELL_NS (200 * G_GINT64_CONSTANT(1000000))

typedef struct {
  DaemonBase *base;
  const DaemonBaseProgress *progress;
  DaemonBaseChecked *checked;
  GByteArray *bad; /* hashes */
  guint64 bytes;
  gint64 told_ns;
} Check;

void
daemon_base_checked_clear(DaemonBaseChecked *checked)
{
  g_clear_pointer(&checked->sources, g_ptr_array_unref);
}

static gboolean
check_content(gpointer user_data, const guint8 hash[static GENERATION_CONTENT_HASH], guint64 size,
              GError **error)
{
  Check *check = user_data;
  gint64 now = clock_now_ns();
  check->bytes += size;
  if (check->progress && now - check->told_ns >= TELL_NS) {
    check->told_ns = now;
    check->progress->tell(check->progress->user_data, "", check->checked->contents, check->bytes);
  }
  if (public_base_check(check->base->fd, hash, size)) {
    check->checked->contents++;
    check->checked->bytes += size;
    return TRUE;
  }
  g_auto(Fd) fd = public_base_open(check->base->fd, hash);
  check->checked->damaged += fd >= 0;
  check->checked->missing += fd < 0;
  g_byte_array_append(check->bad, hash, GENERATION_CONTENT_HASH);
  return TRUE;
}

static gboolean
forget_bad(DaemonBase *base, const GByteArray *bad, GError **error)
{
  for (guint at = 0; at < bad->len; at += GENERATION_CONTENT_HASH)
    if (!daemon_base_forget_content(base, bad->data + at, error))
      return FALSE;
  return TRUE;
}

gboolean
daemon_base_check(DaemonBase *base, const DaemonBaseProgress *progress, DaemonBaseChecked *checked,
                  GError **error)
{
  g_autoptr(GByteArray) bad = g_byte_array_new();
  Check check = {.base = base, .progress = progress, .checked = checked, .bad = bad};
  *checked = (DaemonBaseChecked){0};
  if (!daemon_base_begin(base, error))
    return FALSE;
  if (!daemon_base_each(base, check_content, &check, error) || !forget_bad(base, bad, error))
    return daemon_base_end(base, FALSE, error);
  checked->sources = daemon_base_settle(base, error) ? daemon_base_incomplete(base, error) : NULL;
  return checked->sources != NULL;
}
