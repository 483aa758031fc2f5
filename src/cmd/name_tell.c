/* Handing a record to the own clone, which adds its whereabouts and registers it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/api.h"
#include "c2c/node_bind.h"
#include "cmd/name.h"

#define START_NS (15 * G_GINT64_CONSTANT(1000000000)) /* that a clone's node may take to be started */
#define AGAIN_NS (G_GINT64_CONSTANT(500000000))

typedef struct {
  const Record *told;
  NodeBound *bound;
  GError *error;
} Telling;

static int
take_answer(const unsigned char *body, size_t length, int more, void *data)
{
  Telling *telling = data;
  telling->bound = node_bound_decode(body, length, telling->told, &telling->error);
  return 1;
}

/* 0; or -1 with errno and words, which are the caller's to free(3). */
static int
tell_once(Telling *telling, GBytes *body, char **why)
{
  c2c_set_program("/proc/self/exe");
  C2c *c2c = c2c_open(NULL, why);
  if (!c2c)
    return -1;
  gsize length;
  const void *data = g_bytes_get_data(body, &length);
  int done = c2c_control(c2c, NODE_BIND_VERB, data, length, NODE_BIND_MS, take_answer, telling, why);
  int saved = errno;
  c2c_close(c2c);
  errno = saved;
  return done;
}

/* The host starts a node for a clone that is new to the network only now. */
static gboolean
tell(Telling *telling, GBytes *body, GError **error)
{
  gint64 until = clock_now_ns() + START_NS;
  for (;;) {
    char *why = NULL;
    if (tell_once(telling, body, &why) == 0)
      break;
    gboolean again =
        (errno == EHOSTUNREACH || errno == EAGAIN || errno == EIO) && clock_now_ns() + AGAIN_NS < until;
    if (!again)
      doppel_error_set(error, errno == EACCES ? DOPPEL_ERROR_DENIED : DOPPEL_ERROR_GONE,
                       "the clone could not be told: %s", why ? why : g_strerror(errno));
    free(why);
    if (!again)
      return FALSE;
    g_usleep(AGAIN_NS / 1000);
  }
  if (telling->error)
    g_propagate_error(error, g_steal_pointer(&telling->error));
  return telling->bound != NULL;
}

static char *
told_path(void)
{
  g_autofree char *directory = identity_directory();
  return g_build_filename(directory, "directory.told", NULL);
}

static gboolean
same_text(const char *a, const char *b)
{
  return g_strcmp0(a, b) == 0;
}

gboolean
name_told_otherwise(const GPtrArray *places)
{
  g_autofree char *path = told_path();
  g_autoptr(GPtrArray) told = directory_places_load(path, NULL);
  gboolean same = told && told->len == places->len;
  for (guint i = 0; same && i < places->len; i++) {
    const DirectoryPlace *a = places->pdata[i], *b = told->pdata[i];
    same = same_text(a->name, b->name) && same_text(a->address, b->address) &&
           identity_public_equal(&a->key, &b->key);
  }
  return !same;
}

/* Where it cannot be kept the clone is told again: no harm is done. */
static void
remember_told(const GPtrArray *places)
{
  g_autofree char *path = told_path();
  directory_places_save(places, path, NULL);
}

static Record *
tell_clone(const Record *record, const GPtrArray *places, const DirectoryPlace *home, guint64 *number,
           GError **error)
{
  Telling telling = {.told = record};
  g_autoptr(GBytes) body = node_bind_encode(record, places);
  gboolean shown = isatty(STDERR_FILENO);
  if (shown)
    fputs("Telling the clone, which asks the directory ...", stderr);
  gboolean told = tell(&telling, body, error);
  if (shown)
    fputs("\r\033[K", stderr);
  g_autoptr(NodeBound) bound = telling.bound;
  if (!told)
    return NULL;
  /* The clone has the list, whatever its directory says. */
  remember_told(places);
  if (bound->status == DIRECTORY_STATUS(OK)) {
    *number = bound->number;
    return record_ref(bound->record);
  }
  g_autoptr(DirectoryAnswer) answer = directory_answer_new(bound->status, bound->message);
  directory_answer_refusal(answer, name_place_words(home), error);
  return NULL;
}

static const DirectoryPlace *
home_of(const Record *record, const GPtrArray *places, GError **error)
{
  const DirectoryPlace *home = name_place_keyed(places, &record->directory);
  g_autofree char *key = home ? NULL : identity_public_to_text(&record->directory);
  if (!home)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "this device does not know where the home directory is whose key is %s: \"doppel name "
                     "directory add ADDRESS=KEY\"",
                     key);
  return home;
}

gboolean
name_publish(User *user, Record *record, GPtrArray *places, guint64 *number, GError **error)
{
  const DirectoryPlace *home = home_of(record, places, error);
  if (!home || !user_propose(user, record, error))
    return FALSE;
  if (record->revoked)
    return name_ask_register(home, record, number, error) && user_took(user, record, error);
  g_autoptr(Record) taken = tell_clone(record, places, home, number, error);
  return taken && user_took(user, taken, error);
}

gboolean
name_tell_again(User *user, GPtrArray *places, GError **error)
{
  guint64 number;
  const DirectoryPlace *home = home_of(user->record, places, error);
  g_autoptr(Record) taken = home ? tell_clone(user->record, places, home, &number, error) : NULL;
  return taken != NULL;
}
