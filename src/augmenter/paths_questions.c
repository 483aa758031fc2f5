#include <errno.h>
#include <string.h>

#include "augmenter/paths_private.h"
#include "base/error.h"

typedef struct {
  guint64 id;
  char *path; /* what is not known */
  gboolean contents, directory;
  GHashTable *names; /* of a directory, so far */
} PathsQuestion;

void
question_free(gpointer data)
{
  PathsQuestion *question = data;
  g_free(question->path);
  g_clear_pointer(&question->names, g_hash_table_unref);
  g_free(question);
}

static gboolean
is_asked(const Paths *paths, const char *path, gboolean contents, gboolean directory)
{
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, paths->questions);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const PathsQuestion *question = value;
    if (question->directory == directory && question->contents >= contents &&
        strcmp(question->path, path) == 0)
      return TRUE;
  }
  return FALSE;
}

static PathsQuestion *
add_question(Paths *paths, const char *path)
{
  PathsQuestion *question = g_new0(PathsQuestion, 1);
  question->id = ++paths->next_id;
  question->path = g_strdup(path);
  g_hash_table_insert(paths->questions, &question->id, question);
  return question;
}

static PathsVerdict
sent(gboolean good, GError *error, char **reason)
{
  if (good)
    return PATHS_WAIT;
  g_free(*reason);
  *reason = g_strdup(error->message);
  return PATHS_CUT;
}

PathsVerdict
question_path(Paths *paths, const char *path, const PathsAsk *ask, char **reason)
{
  if (is_asked(paths, path, ask->contents, FALSE))
    return PATHS_WAIT;
  PathsQuestion *question = add_question(paths, path);
  question->contents = ask->contents;
  ProtobufCBinaryData asked = {strlen(ask->path), (guint8 *)ask->path};
  Doppel__Engine__AskPaths message = DOPPEL__ENGINE__ASK_PATHS__INIT;
  message.id = question->id;
  message.n_path = 1;
  message.path = &asked;
  message.contents = ask->contents;
  message.follow = ask->follow;
  g_autoptr(GError) error = NULL;
  gboolean good = ENGINE_SEND(paths->augmenter->link, ASK_PATHS, ask_paths, &message, &error);
  return sent(good, error, reason);
}

PathsVerdict
question_directory(Paths *paths, const char *path, char **reason)
{
  if (is_asked(paths, path, FALSE, TRUE))
    return PATHS_WAIT;
  PathsQuestion *question = add_question(paths, path);
  question->directory = TRUE;
  question->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  Doppel__Engine__AskDirectory message = DOPPEL__ENGINE__ASK_DIRECTORY__INIT;
  message.id = question->id;
  message.path.data = (guint8 *)path;
  message.path.len = strlen(path);
  g_autoptr(GError) error = NULL;
  gboolean good = ENGINE_SEND(paths->augmenter->link, ASK_DIRECTORY, ask_directory, &message, &error);
  return sent(good, error, reason);
}

static PathsQuestion *
find_question(Paths *paths, guint64 id, gboolean directory, GError **error)
{
  PathsQuestion *question = g_hash_table_lookup(paths->questions, &id);
  if (question && question->directory == directory)
    return question;
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device answered what was not asked");
  return NULL;
}

gboolean
questions_answered(Paths *paths, const Doppel__Engine__Paths *answer, GError **error)
{
  PathsQuestion *question = find_question(paths, answer->id, FALSE, error);
  if (!question)
    return FALSE;
  for (gsize i = 0; i < answer->n_told; i++)
    if (!known_tell(paths, NULL, answer->told[i], NULL, error))
      return FALSE;
  /* The device may not get as far as the clone does; and may be able to look at a file, but not to read it.
   */
  KnownPath *known = known_find(paths, question->path);
  if (!known)
    known = known_failed(paths, question->path, EIO);
  if (question->contents && !known->failure && known->facts.type == REPLICA_FILE && !known->facts.hashed &&
      !known->facts.pseudo && known->facts.size > 0 && !known->trouble)
    known->trouble = g_strdup("the device cannot read it");
  g_hash_table_remove(paths->questions, &question->id);
  return TRUE;
}

gboolean
questions_listed(Paths *paths, const Doppel__Engine__Directory *answer, GError **error)
{
  PathsQuestion *question = find_question(paths, answer->id, TRUE, error);
  if (!question)
    return FALSE;
  for (gsize i = 0; i < answer->n_entry; i++) {
    char *path;
    if (!known_tell(paths, question->path, answer->entry[i], &path, error))
      return FALSE;
    g_hash_table_add(question->names, g_strdup(strrchr(path, '/') + 1));
    g_free(path);
  }
  if (!answer->last)
    return TRUE;
  g_autoptr(GError) why = NULL;
  KnownPath *known = known_find(paths, question->path);
  if (answer->has_error && answer->error)
    doppel_error_set(&why, DOPPEL_ERROR_FAILED, "the device cannot list it: %s",
                     g_strerror((int)answer->error));
  if (known && !why && listing_settle(paths, question->path, question->names, &why))
    known->listed = TRUE;
  if (known && why) {
    g_free(known->trouble);
    known->trouble = g_strdup(why->message);
  }
  g_hash_table_remove(paths->questions, &question->id);
  return TRUE;
}
