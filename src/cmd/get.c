/* doppel get: a file that another user shares. */
#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/send_name.h"
#include "c2c/share_message.h"
#include "cmd/cmd.h"
#include "cmd/friends.h"

#define TRIES    5
#define PAUSE_US G_USEC_PER_SEC

static const char summary[] =
    "Gets a file that another user shares, by the path that \"doppel search\" has printed. It is whole and "
    "has the hash "
    "that\nthe other clone says, or it is not there; what was interrupted goes on where it was, as long as "
    "the other one's "
    "file is the\nsame. Nothing that is there is overwritten: a number is added to the name.";

static const char notes[] = "Examples:\n"
                            "  doppel get bob Recipes/pie.txt\n"
                            "  doppel get bob Recipes/pie.txt --to /tmp/pie.txt --force\n"
                            "\n"
                            "The other user has to allow it: bob$ doppel allow alice fetch";

typedef struct {
  char *to;
  gboolean force;
} Options;

/* What identifies a part of a file: whose and which, then how large and how old. */
static char *
tag_start(const char *user, const char *path)
{
  guint8 hash[8];
  g_autofree char *both = g_strdup_printf("%s\n%s", user, path);
  GString *tag = g_string_new(NULL);
  crypto_generichash_state state;
  guint8 whole[32];
  crypto_generichash_init(&state, NULL, 0, sizeof whole);
  crypto_generichash_update(&state, (const guint8 *)both, strlen(both));
  crypto_generichash_final(&state, whole, sizeof whole);
  memcpy(hash, whole, sizeof hash);
  for (guint i = 0; i < sizeof hash; i++)
    g_string_append_printf(tag, "%02x", hash[i]);
  g_string_append_c(tag, '-');
  return g_string_free(tag, FALSE);
}

static char *
tag_of(const char *start, guint64 size, gint64 mtime_ns)
{
  return g_strdup_printf("%s%" G_GUINT64_FORMAT "-%" G_GINT64_MODIFIER "x", start, size, (guint64)mtime_ns);
}

/* A part that an earlier call has left. */
static gboolean
find_part(const char *directory, const char *start, guint64 *size, gint64 *mtime_ns, guint64 *offset)
{
  gboolean found = FALSE;
  DIR *entries = opendir(directory);
  g_autofree char *prefix = g_strconcat(".doppel-", start, NULL);
  for (struct dirent *entry; entries && !found && (entry = readdir(entries));) {
    guint64 time;
    int end = 0;
    if (!g_str_has_prefix(entry->d_name, prefix) ||
        sscanf(entry->d_name + strlen(prefix), "%" G_GUINT64_FORMAT "-%" G_GINT64_MODIFIER "x.part%n", size,
               &time, &end) != 2 ||
        end == 0)
      continue;
    struct stat status;
    *mtime_ns = (gint64)time;
    found = fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode) && (guint64)status.st_size <= *size;
    *offset = found ? (guint64)status.st_size : 0;
  }
  if (entries)
    closedir(entries);
  return found;
}

static gboolean
wrong_answer(const ShareMessage *answer, GError **error)
{
  if (answer->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FAILED)
    return share_message_failed(answer->failed, error);
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the other clone's answer is none");
}

/* All chunks; what comes last is the hash. */
static ShareMessage *
receive_content(int fd, FriendsFile *file, guint64 size, FriendsProgress *progress, GError **error)
{
  for (;;) {
    g_autoptr(ShareMessage) message = share_message_receive(fd, error);
    if (!message)
      return NULL;
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FINISHED && file->offset == size)
      return g_steal_pointer(&message);
    if (message->what_case != DOPPEL__SHARE__MESSAGE__WHAT_CHUNK ||
        message->chunk->data.len > size - file->offset) {
      wrong_answer(message, error);
      return NULL;
    }
    if (!friends_file_write(file, message->chunk->data.data, message->chunk->data.len, error))
      return NULL;
    friends_progress_tell(file->offset, size, progress);
  }
}

static ShareMessage *
ask(int fd, const char *path, const char *directory, const char *start, GError **error)
{
  Doppel__Share__Fetch fetch = DOPPEL__SHARE__FETCH__INIT;
  guint64 size = 0, offset = 0;
  gint64 mtime_ns = 0;
  fetch.path = (char *)path;
  if (find_part(directory, start, &size, &mtime_ns, &offset)) {
    fetch.size = size;
    fetch.mtime_ns = mtime_ns;
    fetch.offset = offset;
  }
  if (!share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_FETCH, &fetch, error))
    return NULL;
  g_autoptr(ShareMessage) found = share_message_receive(fd, error);
  if (found && found->what_case != DOPPEL__SHARE__MESSAGE__WHAT_FOUND) {
    wrong_answer(found, error);
    return NULL;
  }
  /* Of another file than before nothing can be gone on with. */
  if (found && fetch.size && (found->found->size != size || found->found->mtime_ns != mtime_ns)) {
    g_autofree char *tag = tag_of(start, size, mtime_ns);
    g_autofree char *part = g_strdup_printf("%s/.doppel-%s.part", directory, tag);
    unlink(part);
  }
  return g_steal_pointer(&found);
}

static gboolean
get(const char *user, const char *path, const Options *options, gboolean *reached, GError **error)
{
  FriendsProgress progress;
  g_auto(FriendsFile) file = {0};
  g_autofree char *directory = options->to ? g_path_get_dirname(options->to) : g_strdup(".");
  g_autofree char *name = options->to ? g_path_get_basename(options->to) : send_name_clean(path);
  g_autofree char *start = tag_start(user, path), *as = NULL;
  g_auto(Fd) fd = friends_dial(user, "fetch", error);
  *reached = fd >= 0;
  g_autoptr(ShareMessage) found = fd >= 0 ? ask(fd, path, directory, start, error) : NULL;
  if (!found)
    return FALSE;
  g_autofree char *tag = tag_of(start, found->found->size, found->found->mtime_ns);
  if (!friends_file_begin(&file, directory, tag, found->found->offset, error))
    return FALSE;
  if (file.offset != found->found->offset)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the part of it that was here has changed");
  friends_progress_begin(&progress, path, TRUE);
  g_autoptr(ShareMessage) end = receive_content(fd, &file, found->found->size, &progress, error);
  friends_progress_end(&progress);
  if (!end ||
      !friends_file_finish(&file, end->finished->hash.data, found->found->mode, found->found->mtime_ns, name,
                           options->to != NULL, options->force, &as, error))
    return FALSE;
  printf("%s%s%s\n", options->to ? directory : "", options->to ? "/" : "", as);
  return TRUE;
}

int
cmd_get(int argc, char **argv)
{
  Options options = {0};
  const GOptionEntry entries[] = {
      {"to", 'o', 0, G_OPTION_ARG_FILENAME, &options.to, "As this file", "FILE"},
      {"force", 'f', 0, G_OPTION_ARG_NONE, &options.force, "With --to: replace what is there", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("USER PATH");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 2, 2))
    return 2;
  if (options.to && !options.force && g_file_test(options.to, G_FILE_TEST_EXISTS)) {
    fprintf(stderr, "doppel get: %s is there already: --force replaces it\n", options.to);
    g_free(options.to);
    return 1;
  }
  for (guint i = 1;; i++) {
    g_autoptr(GError) error = NULL;
    gboolean reached, good = get(argv[1], argv[2], &options, &reached, &error);
    if (!good && reached && i < TRIES && g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
      g_usleep(PAUSE_US);
      continue;
    }
    g_free(options.to);
    return good ? 0 : cmd_fail("get", error);
  }
}
