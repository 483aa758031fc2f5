/* A device: the real copy and its line to the clone (clonedoc/device), and somebody who types. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/device/session.h"
#include "doppel/c2c.h"
#include "schedules.h"

enum { TICK_MS = 10, HURRY_US = 100000, LOOK_US = 20000, TOGETHER = 6 };

typedef struct {
  const DeviceConfig *config;
  Shared *shared;
  DeviceShare *share;
  DocCopies *copies;
  DocCopy *copy;
  DocSession *session;
  GRand *rand;
  gint64 type_at, hurry_at, look_at; /* g_get_monotonic_time() */
} Device;

static Device device;

static void G_GNUC_NORETURN
fail(const char *what, const GError *error)
{
  g_snprintf(device.share->failed, WORDS_MAX, "device %u: %s: %s", device.config->user, what,
             error ? error->message : "");
  _exit(1);
}

static guint
pick(guint below)
{
  return (guint)g_rand_int_range(device.rand, 0, (gint32)below);
}

static int
dial(GError **error)
{
  static guint32 count;
  char *why = NULL;
  C2c *c2c = c2c_open(device.config->clone, &why);
  int fd = c2c ? c2c_dial(c2c, NULL, "doc", &why) : -1;
  if (c2c)
    c2c_close(c2c);
  if (fd >= 0)
    fd = links_join(device.config->links, (guint32)getpid() << 8 | (count++ & 0xff), fd);
  if (fd < 0)
    doppel_error_set(error, DOPPEL_ERROR_GONE, "no stream: %s", why ? why : g_strerror(errno));
  free(why);
  return fd;
}

/* ---- typing ---- */

static void
edit(gsize at, gsize count, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) op = ot_op_new_edit(at, count, text, strlen(text));
  g_autoptr(OtOp) meanwhile = NULL;
  if (!doc_copy_edit(device.copy, op, &meanwhile, &error))
    fail("an edit", error);
}

static void
insert(gsize length)
{
  DeviceShare *share = device.share;
  g_autoptr(GString) text = g_string_new(NULL);
  guint first = share->typed, count = 1 + pick(TOGETHER);
  count = MIN(count, KEYS_MAX - first);
  for (guint i = 0; i < count; i++) {
    share->keys[first + i] = KEY_MEANT;
    g_string_append_unichar(text, key_letter(device.config->user, first + i));
  }
  share->typed += count;
  /* Mostly where others type, too. */
  edit(pick(3) ? length / 2 : pick((guint)length + 1), 0, text->str);
  for (guint i = 0; i < count; i++)
    share->keys[first + i] = KEY_KEPT;
}

static void
erase(gsize length)
{
  DeviceShare *share = device.share;
  gsize at = pick(3) ? length / 2 : pick((guint)length), count = 1 + pick(TOGETHER / 2);
  count = MIN(count, length - at);
  if (share->deleted + count > G_N_ELEMENTS(share->gone))
    return;
  g_autofree char *text = ot_text_copy(doc_copy_text(device.copy), at, count, NULL);
  guint listed = share->deleted;
  for (const char *c = text; *c; c = g_utf8_next_char(c))
    share->gone[listed++] = g_utf8_get_char(c);
  __atomic_store_n(&share->deleting, (guint)count, __ATOMIC_SEQ_CST);
  edit(at, count, "");
  share->deleted += (guint)count;
  __atomic_store_n(&share->deleting, 0, __ATOMIC_SEQ_CST);
}

static void
type(void)
{
  gsize length = ot_text_length(doc_copy_text(device.copy));
  if (length > 1 && pick(3) == 0)
    erase(length);
  else if (device.share->typed < KEYS_MAX)
    insert(length);
}

/* What was under way when the device was killed is on its disk or is not: nothing else has changed that
 * since. */
static void
look_back(void)
{
  DeviceShare *share = device.share;
  const OtText *copy = doc_copy_text(device.copy);
  g_autofree char *text = ot_text_copy(copy, 0, ot_text_length(copy), NULL);
  g_autoptr(GHashTable) there = g_hash_table_new(NULL, NULL);
  for (const char *c = text; *c; c = g_utf8_next_char(c))
    g_hash_table_add(there, GUINT_TO_POINTER(g_utf8_get_char(c)));
  for (guint i = 0; i < share->typed; i++)
    if (share->keys[i] == KEY_MEANT)
      share->keys[i] = g_hash_table_contains(there, GUINT_TO_POINTER(key_letter(device.config->user, i)))
                           ? KEY_KEPT
                           : KEY_NONE;
  if (share->deleting > 0 && !g_hash_table_contains(there, GUINT_TO_POINTER(share->gone[share->deleted])))
    share->deleted += share->deleting;
  share->deleting = 0;
}

/* ---- telling ---- */

static void
tell(void)
{
  DeviceShare *share = device.share;
  g_autoptr(GError) error = NULL;
  const GError *trouble = doc_session_trouble(device.session);
  const OtText *copy = doc_copy_text(device.copy);
  gsize bytes;
  if (!doc_copy_is_settled(device.copy, &share->settled, &error))
    fail("looking", error);
  share->current = doc_session_is_current(device.session);
  g_strlcpy(share->trouble, trouble ? trouble->message : "", WORDS_MAX);
  g_autofree char *text = ot_text_copy(copy, 0, ot_text_length(copy), &bytes);
  if (bytes >= TEXT_MAX)
    fail("the text is too long", NULL);
  memcpy(share->text, text, bytes + 1);
  share->bytes = bytes;
  __atomic_add_fetch(&share->round, 1, __ATOMIC_SEQ_CST);
}

static void
step(gint64 now)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) shown = NULL;
  if (!doc_session_work(device.session, &shown, &error))
    fail("the copy", error);
  g_autofree char *lost = doc_session_take_lost(device.session);
  if (lost)
    fail("it had to begin anew, without what was typed", NULL);
  if (device.shared->live && now >= device.type_at) {
    type();
    device.type_at = now + (gint64)pick(150) * 1000;
  }
  if (doc_session_trouble(device.session) && now >= device.hurry_at) {
    doc_session_hurry(device.session);
    device.hurry_at = now + HURRY_US;
  }
  if (!device.shared->live && now >= device.look_at) {
    tell();
    device.look_at = now + LOOK_US;
  }
}

static void
await(void)
{
  struct pollfd fds[DOC_SESSION_FDS];
  int timeout_ms = TICK_MS;
  guint count = doc_session_prepare(device.session, fds, &timeout_ms);
  poll(fds, count, MIN(timeout_ms, TICK_MS));
}

void
device_run(const DeviceConfig *config, Shared *shared)
{
  g_autoptr(GError) error = NULL;
  DocKnown known = {*config->document, (char *)"notes", g_bytes_new_static("", 0)};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  device = (Device){.config = config, .shared = shared, .share = &shared->devices[config->user]};
  device.rand = g_rand_new_with_seed(config->seed);
  device.copies = doc_copies_open(config->folder, &error);
  if (device.copies && doc_copies_add(device.copies, &known, &error))
    device.copy = doc_copy_open(device.copies, config->document, &error);
  if (!device.copy)
    fail("opening", error);
  look_back();
  device.session = doc_session_new(device.copies, device.copy, dial);
  for (;;) {
    await();
    step(g_get_monotonic_time());
  }
}
