/* doppel doc create, open, cat, import, export, edit: documents' texts. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/directory_place.h"
#include "clonedoc/server/call.h"
#include "cmd/doc.h"
#include "cmd/doc_server.h"
#include "wire/message.h"

/* ---- making one ---- */

static gboolean
take_made(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  if (answer->what_case == DOC_ROOM_TELL(ROW))
    memcpy(((DocName *)data)->bytes, answer->row->document.data, DOC_NAME_LENGTH);
  return TRUE;
}

static gboolean
make(const char *title, const DocServer *server, DocName *made, GError **error)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Create create = DOPPEL__ROOM__CREATE__INIT;
  create.title = (char *)title;
  create.addresses = server->addresses;
  create.n_addresses = g_strv_length(server->addresses);
  create.server = wire_borrow(server->key.bytes, sizeof server->key.bytes);
  question.what_case = DOC_ROOM_ASK(CREATE);
  question.create = &create;
  return doc_ask(&question, take_made, made, error);
}

gboolean
doc_create(char **words, const DocOptions *options, GError **error)
{
  g_autofree char *text = NULL;
  gsize bytes = 0;
  DocName made;
  g_auto(DocServer) server = {0};
  g_auto(DocAt) at = {0};
  if (!words[0][0] || strlen(words[0]) > DOC_ROOM_TITLE_MAX || !g_utf8_validate(words[0], -1, NULL))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a title is UTF-8 of 1 to %u bytes",
                            DOC_ROOM_TITLE_MAX);
  if (words[1] && !doc_file_read(words[1], &text, &bytes, error))
    return FALSE;
  g_autoptr(DocCopies) copies = doc_copies(error);
  if (!copies || !doc_server_choose(options->server, copies, &server, error) ||
      !make(words[0], &server, &made, error) || !doc_known_update(copies, doc_ask, error))
    return FALSE;
  g_autofree char *name = doc_name_text(&made, 2 * DOC_NAME_LENGTH);
  if (!doc_at_open(&at, name, FALSE, error) || (text && !doc_at_replace(&at, text, bytes, error)) ||
      !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error) ||
      !doc_at_deliver(&at, DOC_AT_DELIVER_MS, NULL, error))
    return FALSE;
  printf("%s\n", name);
  return TRUE;
}

/* ---- whole texts ---- */

gboolean
doc_cat(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  gsize bytes;
  if (!doc_at_open(&at, words[0], options->offline, error) ||
      (!options->offline && !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error)))
    return FALSE;
  g_autofree char *text = doc_at_text(&at, &bytes);
  return io_write_all(STDOUT_FILENO, text, bytes) || doppel_error_errno(error, "cannot print the document");
}

gboolean
doc_export(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  gsize bytes;
  if (strcmp(words[1], "-") == 0)
    return doc_cat(words, options, error);
  if (!doc_at_open(&at, words[0], options->offline, error) ||
      (!options->offline && !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error)))
    return FALSE;
  g_autofree char *text = doc_at_text(&at, &bytes);
  g_autoptr(GError) why = NULL;
  if (g_file_set_contents_full(words[1], text, bytes, G_FILE_SET_CONTENTS_CONSISTENT, 0666, &why))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", why->message);
}

gboolean
doc_import(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  g_autofree char *text = NULL;
  gsize bytes;
  if (!doc_file_read(words[1], &text, &bytes, error) ||
      !doc_at_open(&at, words[0], options->offline, error) ||
      (!options->offline && !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error)) ||
      !doc_at_may_write(&at, error) || !doc_at_replace(&at, text, bytes, error))
    return FALSE;
  return options->offline || doc_at_deliver(&at, DOC_AT_DELIVER_MS, NULL, error);
}

/* ---- an editor ---- */

/* A file in a folder of its own, whose name says to the editor what it is. */
static gboolean
make_file(DocFile *file, DocAt *at, char **folder, GError **error)
{
  g_autoptr(GError) why = NULL;
  const char *runtime = g_getenv("XDG_RUNTIME_DIR");
  g_autofree char *pattern =
      g_build_filename(runtime && *runtime ? runtime : g_get_tmp_dir(), "doppel-doc-XXXXXX", NULL);
  g_autofree char *name = g_strdup(at->known->title);
  g_strdelimit(name, "/", '_');
  *folder = g_mkdtemp(pattern) ? g_steal_pointer(&pattern) : NULL;
  if (!*folder)
    return doppel_error_errno(error, "cannot make a folder for the editor's file");
  file->path = g_build_filename(*folder, name[0] == '.' ? "document.txt" : name, NULL);
  file->base = doc_at_text(at, &file->bytes);
  if (g_file_set_contents_full(file->path, file->base, file->bytes, G_FILE_SET_CONTENTS_NONE, 0600, &why))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", why->message);
}

static pid_t
start_editor(const char *path, GError **error)
{
  const char *editor = g_getenv("VISUAL");
  editor = editor && *editor ? editor : g_getenv("EDITOR");
  editor = editor && *editor ? editor : "vi";
  g_autofree char *line = g_strconcat(editor, " \"$@\"", NULL);
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    execl("/bin/sh", "sh", "-c", line, editor, path, (char *)NULL);
    _exit(127);
  }
  if (pid < 0)
    doppel_error_errno(error, "cannot start the editor");
  return pid;
}

static gboolean
is_over(pid_t pid, int *status)
{
  return waitpid(pid, status, WNOHANG) != 0;
}

/* While the editor runs, each save goes to the others, and what they do is noted for the next one. */
static gboolean
follow_editor(DocFile *file, DocAt *at, int watch, pid_t pid, int *status, GError **error)
{
  g_auto(Fd) editor = (int)syscall(SYS_pidfd_open, pid, 0);
  while (!is_over(pid, status)) {
    g_autoptr(OtOp) shown = NULL;
    struct pollfd fds[] = {{.fd = watch, .events = POLLIN}, {.fd = editor, .events = POLLIN}};
    char events[4096];
    gboolean good = doc_at_wait(at, fds, G_N_ELEMENTS(fds), editor >= 0 ? -1 : 250, &shown, error);
    doc_file_note(file, shown);
    if (!good)
      return FALSE;
    /* What is no text now may be when the editor is over. */
    if (read(watch, events, sizeof events) > 0)
      doc_file_absorb(file, at, NULL);
  }
  return TRUE;
}

static gboolean
run_editor(DocFile *file, DocAt *at, GError **error)
{
  int status = 0;
  g_auto(Fd) watch = doc_file_watch(file, error); /* before anything can be saved */
  if (watch < 0)
    return FALSE;
  signal(SIGINT, SIG_IGN);
  signal(SIGQUIT, SIG_IGN);
  pid_t pid = start_editor(file->path, error);
  gboolean good = pid >= 0 && follow_editor(file, at, watch, pid, &status, error);
  if (pid >= 0 && !good)
    waitpid(pid, &status, 0);
  signal(SIGINT, SIG_DFL);
  signal(SIGQUIT, SIG_DFL);
  if (!good || !doc_file_absorb(file, at, error))
    return FALSE;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "the editor cannot be started: set $VISUAL or $EDITOR to one");
  return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED,
                          "the editor did not end well; what it had saved by then is in the document");
}

gboolean
doc_edit(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  g_auto(DocFile) file = {0};
  g_autofree char *folder = NULL;
  if (!doc_at_open(&at, words[0], options->offline, error) ||
      (!options->offline && !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error)) ||
      !doc_at_may_write(&at, error) || !make_file(&file, &at, &folder, error))
    return FALSE;
  gboolean good = run_editor(&file, &at, error);
  gsize bytes;
  g_autofree char *left = NULL;
  /* Nothing that was typed is removed before it is in the document. */
  if (good || (doc_file_read(file.path, &left, &bytes, NULL) && bytes == file.bytes &&
               memcmp(left, file.base, bytes) == 0)) {
    unlink(file.path);
    rmdir(folder);
  } else
    g_prefix_error(error, "what was typed is in %s: ", file.path);
  return good && (options->offline || doc_at_deliver(&at, DOC_AT_DELIVER_MS, NULL, error));
}
