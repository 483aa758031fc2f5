#include "daemon/served.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/listener.h"

gboolean
served_complete_state(const char *program, char **state, GError **error)
{
  struct stat status;
  if (!*state)
    *state = geteuid() == 0 ? g_build_filename("/var/lib", program, NULL)
                            : g_build_filename(g_get_user_state_dir(), program, NULL);
  if (g_mkdir_with_parents(*state, 0700) < 0 || stat(*state, &status) < 0)
    return doppel_error_errno(error, "cannot use the state directory %s", *state);
  if (status.st_mode & 077)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the state directory %s can be entered by others (mode %03o): chmod 700 it",
                            *state, (guint)status.st_mode & 0777);
  return TRUE;
}

gboolean
served_lock(const char *program, const char *state, const char *what, int *fd, GError **error)
{
  g_autofree char *path = g_build_filename(state, "lock", NULL);
  *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (*fd < 0)
    return doppel_error_errno(error, "cannot open %s", path);
  if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  return errno == EWOULDBLOCK
             ? doppel_error_set(error, DOPPEL_ERROR_DENIED,
                                "another %s serves %s in %s: end that one, or name another --state", program,
                                what, state)
             : doppel_error_errno(error, "cannot lock %s", path);
}

gboolean
served_listen(char **addresses, const char *port, GArray *fds, GPtrArray *names, GError **error)
{
  gboolean good = TRUE;
  guint before = fds->len;
  if (!addresses) {
    g_autofree char *six = g_strdup_printf("[::]:%s", port);
    g_autofree char *four = g_strdup_printf("0.0.0.0:%s", port);
    good = daemon_listen(six, fds, names, NULL) || daemon_listen(four, fds, names, error);
  }
  for (char **address = addresses; good && address && *address; address++)
    good = daemon_listen(*address, fds, names, error);
  for (guint i = before; i < fds->len; i++) {
    int fd = g_array_index(fds, int, i);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
  return good;
}

gboolean
served_note_listening(const char *state, const GPtrArray *names, GError **error)
{
  g_autofree char *path = g_build_filename(state, "listening", NULL);
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < names->len; i++)
    g_string_append_printf(text, "%s\n", (const char *)names->pdata[i]);
  g_autoptr(GError) why = NULL;
  return g_file_set_contents(path, text->str, (gssize)text->len, &why) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", why->message);
}

void
served_tell_listening(const char *program, const GPtrArray *names, const char *whose, const IdentityKey *key)
{
  g_autoptr(GString) list = g_string_new(NULL);
  g_autofree char *text = identity_public_to_text(identity_key_public(key));
  for (guint i = 0; i < names->len; i++)
    g_string_append_printf(list, "%s%s", i > 0 ? ", " : "", (const char *)names->pdata[i]);
  g_printerr("%s: listening on %s; %s key is %s\n", program, list->str, whose, text);
}

gboolean
served_read_keys(const char *option, char **texts, GArray *keys, GError **error)
{
  for (char **text = texts; text && *text; text++) {
    IdentityPublic key;
    if (!identity_public_from_text(*text, &key, error)) {
      g_prefix_error(error, "%s %s: ", option, *text);
      return FALSE;
    }
    g_array_append_val(keys, key);
  }
  return TRUE;
}

/* Where others reach what listens there; of every address, by this machine's name. */
static char *
reachable(const char *address)
{
  const char *port = strrchr(address, ':');
  if (port && (g_str_has_prefix(address, "[::]:") || g_str_has_prefix(address, "0.0.0.0:")))
    return g_strdup_printf("%s%s", g_get_host_name(), port);
  return g_strdup(address);
}

gboolean
served_print_key(const char *state, const IdentityKey *key, const char *const *addresses, const char *port,
                 GError **error)
{
  g_autofree char *text = identity_public_to_text(identity_key_public(key));
  g_autofree char *path = g_build_filename(state, "listening", NULL);
  g_autofree char *usual = g_strdup_printf("[::]:%s", port);
  g_autofree char *listening = NULL;
  g_auto(GStrv) lines = NULL;
  if (!addresses && g_file_get_contents(path, &listening, NULL, NULL))
    lines = g_strsplit(g_strchomp(listening), "\n", -1);
  const char *const only[] = {usual, NULL};
  const char *const *all = addresses ? addresses : lines && lines[0] ? (const char *const *)lines : only;
  for (; *all; all++) {
    g_autofree char *address = reachable(*all);
    printf("%s=%s\n", address, text);
  }
  return fflush(stdout) == 0 || doppel_error_errno(error, "cannot write");
}

void
served_allow_descriptors(guint count)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= count)
    return;
  limit.rlim_cur = MIN(limit.rlim_max, count);
  setrlimit(RLIMIT_NOFILE, &limit);
}

static gboolean
stop(gpointer loop)
{
  g_main_loop_quit(loop);
  return G_SOURCE_CONTINUE;
}

void
served_run(void)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  guint term = g_unix_signal_add(SIGTERM, stop, loop);
  guint interrupt = g_unix_signal_add(SIGINT, stop, loop);
  g_main_loop_run(loop);
  g_source_remove(term);
  g_source_remove(interrupt);
}
