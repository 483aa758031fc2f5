/* doppel doc attach, watch: what goes on until it is interrupted. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "clonedoc/merge.h"
#include "cmd/doc.h"

#define SETTLE_MS  60   /* from a save until it is looked at: some write a file in pieces */
#define RETRY_MS   2000 /* until a file is looked at again that could not be */
#define PARTING_MS 3000

/* Readable at SIGINT and SIGTERM, which end nothing by themselves from now on. */
static int
catch_end(GError **error)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0)
    doppel_error_errno(error, "cannot wait for signals");
  return fd;
}

/* Says once that the clone is away, and once that it is there again. */
static void
tell_line(DocAt *at, gboolean *away)
{
  const GError *why = doc_session_trouble(at->session);
  gboolean is_away = why != NULL;
  if (is_away && !*away)
    fprintf(stderr, "doppel doc: %s cannot be reached, it is tried again: %s\n", doc_room_called(),
            why->message);
  if (!is_away && *away)
    fprintf(stderr, "doppel doc: in step with %s again.\n", doc_room_called());
  *away = is_away;
}

/* ---- watch ---- */

/* Line and column of a position, from 1. */
static void
find_place(const OtText *text, gsize at, gsize *line, gsize *column)
{
  g_autofree char *before = ot_text_copy(text, 0, at, NULL);
  const char *begin = before;
  *line = 1;
  for (const char *end; (end = strchr(begin, '\n')); begin = end + 1)
    ++*line;
  *column = g_utf8_strlen(begin, -1) + 1;
}

static void
print_part(const OtText *text, gsize at, const char *deleted, const char *inserted, gboolean json)
{
  g_autoptr(GString) line = g_string_new(NULL);
  gsize row, column;
  if (json) {
    g_string_append_printf(line, "{\"position\": %zu, \"deleted\": ", at);
    json_append_string(line, deleted);
    g_string_append(line, ", \"inserted\": ");
    json_append_string(line, inserted);
    puts(g_string_append_c(line, '}')->str);
    return;
  }
  find_place(text, at, &row, &column);
  g_string_append_printf(line, "%zu:%zu", row, column);
  for (guint i = 0; i < 2; i++)
    if ((i == 0 ? deleted : inserted)[0]) {
      g_string_append(line, i == 0 ? " - " : " + ");
      json_append_string(line, i == 0 ? deleted : inserted);
    }
  puts(line->str);
}

/* What `op` does to `text`, which then has it. */
static gboolean
print_changes(const OtOp *op, OtText *text, gboolean json, GError **error)
{
  OtCursor cursor;
  OtPart part;
  gsize at = 0;
  for (ot_cursor_init(&cursor, op); cursor.left.scalars > 0;) {
    g_autofree char *deleted = g_strdup(""), *inserted = g_strdup("");
    if (cursor.left.kind == OT_KEEP) {
      ot_cursor_take(&cursor, cursor.left.scalars, &part);
      at += part.scalars;
      continue;
    }
    gsize length = 0;
    if (cursor.left.kind == OT_INSERT) {
      ot_cursor_take(&cursor, cursor.left.scalars, &part);
      g_free(inserted);
      inserted = g_strndup(part.utf8, part.bytes);
      length = part.scalars;
    }
    gsize gone = 0;
    if (cursor.left.scalars > 0 && cursor.left.kind == OT_DELETE) {
      ot_cursor_take(&cursor, cursor.left.scalars, &part);
      gone = part.scalars;
      g_free(deleted);
      deleted = ot_text_copy(text, at, gone, NULL);
    }
    print_part(text, at, deleted, inserted, json);
    g_autoptr(OtOp) each = ot_op_new_edit(at, gone, inserted, strlen(inserted));
    if (!ot_op_apply(each, text, error))
      return FALSE;
    at += length;
  }
  fflush(stdout);
  return TRUE;
}

gboolean
doc_watch(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  gboolean away = FALSE;
  if (!doc_at_open(&at, words[0], options->offline, error) ||
      (!options->offline && !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error)))
    return FALSE;
  g_auto(Fd) end = catch_end(error);
  g_autoptr(OtText) text = ot_text_new();
  gsize bytes, length = ot_text_length(doc_copy_text(at.copy));
  g_autofree char *utf8 = doc_at_text(&at, &bytes);
  ot_text_insert(text, 0, utf8, bytes, length);
  for (struct pollfd fd = {.fd = end, .events = POLLIN}; end >= 0 && !fd.revents;) {
    g_autoptr(OtOp) shown = NULL;
    if (!doc_at_wait(&at, &fd, 1, -1, &shown, error) ||
        (shown && !print_changes(shown, text, options->json, error)))
      return FALSE;
    tell_line(&at, &away);
  }
  return end >= 0;
}

/* ---- attach ---- */

/* Where it is kept what an attached file had when it was left, so that what is done to either meanwhile is
 * told apart. */
static char *
base_path(DocAt *at, const char *path)
{
  g_autofree char *name = doc_name_text(&at->known->document, 64);
  g_autofree char *both = g_strconcat(name, " ", path, NULL);
  g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, both, -1);
  return g_strdup_printf("%s/%s.attached", doc_copies_folder(at->copies), hash);
}

static gboolean
keep_base(const DocFile *file, const char *path, GError **error)
{
  g_autoptr(GError) why = NULL;
  if (g_file_set_contents_full(path, file->base ? file->base : "", file->base ? file->bytes : 0,
                               G_FILE_SET_CONTENTS_CONSISTENT, 0600, &why))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", why->message);
}

/* The file's base is `text`, which is taken, and of the document what differs from it. */
static gboolean
begin_from(DocFile *file, DocAt *at, char *text, gsize bytes, GError **error)
{
  gsize now_bytes;
  g_autofree char *now = doc_at_text(at, &now_bytes);
  file->base = text;
  file->bytes = bytes;
  file->meanwhile = doc_merge_difference(text, bytes, now, now_bytes, error);
  return file->meanwhile != NULL;
}

/* Which of two that were never the same is right. */
static gboolean
begin_first(DocFile *file, DocAt *at, const char *take, char *had, gsize bytes, GError **error)
{
  g_autofree char *text = had;
  gsize now_bytes;
  g_autofree char *now = doc_at_text(at, &now_bytes);
  gboolean same = bytes == now_bytes && memcmp(text, now, bytes) == 0;
  if (!take && !same && bytes > 0 && now_bytes > 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "%s and the document differ: --take=file makes the document like the file, "
                            "--take=document the file like the document",
                            file->path);
  if (same || (take ? strcmp(take, "document") == 0 : bytes == 0))
    return begin_from(file, at, g_steal_pointer(&text), bytes, error);
  return begin_from(file, at, g_steal_pointer(&now), now_bytes, error);
}

static gboolean
begin(DocFile *file, DocAt *at, const char *take, const char *kept, GError **error)
{
  g_autoptr(GError) why = NULL;
  char *had;
  gsize bytes;
  gboolean there = doc_file_read(file->path, &had, &bytes, &why);
  if (!there && !g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
  }
  if (!there)
    return TRUE;
  char *base;
  gsize base_bytes;
  if (take || !doc_file_read(kept, &base, &base_bytes, NULL))
    return begin_first(file, at, take, had, bytes, error);
  g_free(had);
  return begin_from(file, at, base, base_bytes, error);
}

/* One look at both. What is wrong with the file is told once, and it is left alone. */
static gboolean
meet_file(DocFile *file, DocAt *at, const char *kept, char **told, GError **error)
{
  g_autoptr(GError) why = NULL;
  if (doc_file_write(file, at, &why)) {
    g_clear_pointer(told, g_free);
    return keep_base(file, kept, error);
  }
  if (g_strcmp0(*told, why->message) != 0)
    fprintf(stderr, "doppel doc: %s\n", why->message);
  g_free(*told);
  *told = g_strdup(why->message);
  return TRUE;
}

static gboolean
follow(DocFile *file, DocAt *at, const char *kept, int end, GError **error)
{
  gboolean away = FALSE;
  g_autofree char *told = NULL;
  g_auto(Fd) watch = doc_file_watch(file, error);
  struct pollfd fds[] = {{.fd = end, .events = POLLIN}, {.fd = watch, .events = POLLIN}};
  for (int pause = 0; watch >= 0 && !fds[0].revents;) {
    g_autoptr(OtOp) shown = NULL;
    char events[4096];
    if (!doc_at_wait(at, fds, G_N_ELEMENTS(fds), pause, &shown, error))
      return FALSE;
    doc_file_note(file, shown);
    tell_line(at, &away);
    gboolean saved = read(watch, events, sizeof events) > 0;
    if (saved && pause != SETTLE_MS) {
      pause = SETTLE_MS;
      continue;
    }
    if ((saved || shown || pause >= 0) && !meet_file(file, at, kept, &told, error))
      return FALSE;
    pause = told ? RETRY_MS : -1;
  }
  return watch >= 0;
}

gboolean
doc_attach(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  g_auto(DocFile) file = {0};
  if (options->take && strcmp(options->take, "file") != 0 && strcmp(options->take, "document") != 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--take is \"file\" or \"document\"");
  if (!doc_at_open(&at, words[0], options->offline, error) ||
      (!options->offline && !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error)))
    return FALSE;
  char *real = realpath(words[1], NULL);
  file.path = real ? g_strdup(real) : g_canonicalize_filename(words[1], NULL);
  free(real);
  g_autofree char *kept = base_path(&at, file.path);
  g_auto(Fd) end = catch_end(error);
  if (end < 0 || !begin(&file, &at, options->take, kept, error) || !doc_file_write(&file, &at, error) ||
      !keep_base(&file, kept, error))
    return FALSE;
  fprintf(stderr, "doppel doc: %s and \"%s\" are in step until this is interrupted.\n", file.path,
          at.known->title);
  if (!follow(&file, &at, kept, end, error) || !doc_file_absorb(&file, &at, error) ||
      !keep_base(&file, kept, error))
    return FALSE;
  return options->offline || doc_at_deliver(&at, PARTING_MS, NULL, error);
}
