#include "cmd/forward_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"
#include "identity/key.h"

#define FOLDER    "forwards"
#define GROUP     "forward"
#define ENTRY_MAX 4096u

static int
open_folder(GError **error)
{
  g_autofree char *keys = identity_directory(), *path = g_build_filename(keys, FOLDER, NULL);
  g_mkdir_with_parents(path, 0700);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    doppel_error_errno(error, "the list of forwarded ports, %s, cannot be opened", path);
  return fd;
}

static char *
own_name(void)
{
  return g_strdup_printf("%d", (int)getpid());
}

gboolean
forward_list_enter(gboolean accept, const char *here, const char *there, Fd *lock, GError **error)
{
  g_auto(Fd) folder = open_folder(error);
  if (folder < 0)
    return FALSE;
  g_autofree char *name = own_name();
  g_autoptr(GKeyFile) file = g_key_file_new();
  gsize length;
  g_key_file_set_boolean(file, GROUP, "accept", accept);
  g_key_file_set_string(file, GROUP, "here", here);
  g_key_file_set_string(file, GROUP, "there", there);
  g_key_file_set_int64(file, GROUP, "since", g_get_real_time() / G_USEC_PER_SEC);
  g_autofree char *text = g_key_file_to_data(file, &length, NULL);
  unlinkat(folder, name, 0); /* of one that is no more, and had this number */
  *lock = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  return (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) == 0 && io_write_all(*lock, text, length)) ||
         doppel_error_errno(error, "this is not put into the list of forwarded ports");
}

void
forward_list_leave(void)
{
  g_auto(Fd) folder = open_folder(NULL);
  g_autofree char *name = own_name();
  if (folder >= 0)
    unlinkat(folder, name, 0);
}

/* Of a process that is no more nothing is shown, nor kept. */
static void
add_entry(Table *table, int folder, const char *name)
{
  g_auto(Fd) fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0)
    return;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    unlinkat(folder, name, 0);
    return;
  }
  g_autofree char *text = io_read_file_at(folder, name, ENTRY_MAX);
  g_autoptr(GKeyFile) file = g_key_file_new();
  if (!text || !g_key_file_load_from_data(file, text, (gsize)-1, G_KEY_FILE_NONE, NULL))
    return;
  g_autofree char *here = g_key_file_get_string(file, GROUP, "here", NULL);
  g_autofree char *there = g_key_file_get_string(file, GROUP, "there", NULL);
  g_autofree char *since = network_time(g_key_file_get_int64(file, GROUP, "since", NULL));
  gboolean accept = g_key_file_get_boolean(file, GROUP, "accept", NULL);
  const char *cells[] = {name, accept ? "accept" : "connect", here, there, since};
  table_add(table, cells);
}

gboolean
forward_list_print(gboolean json, GError **error)
{
  static const TableColumn columns[] = {{"PROCESS", "process", TABLE_NUMBER},
                                        {"WHAT", "what"},
                                        {"HERE", "here"},
                                        {"THERE", "there"},
                                        {"SINCE", "since"}};
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_auto(Fd) folder = open_folder(error);
  DIR *stream = folder < 0 ? NULL : fdopendir(dup(folder));
  if (!stream)
    return folder < 0 ? FALSE : doppel_error_errno(error, "the list of forwarded ports cannot be read");
  for (struct dirent *entry; (entry = readdir(stream));)
    if (g_ascii_isdigit(entry->d_name[0]))
      add_entry(table, folder, entry->d_name);
  closedir(stream);
  if (json || table_rows(table) > 0)
    table_print(table, json, stdout);
  else
    fputs("No port is forwarded: \"doppel forward --help\" tells how.\n", stderr);
  return TRUE;
}
