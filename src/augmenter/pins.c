/* Which pins the clone's processes still have open. Closing a placeholder is nobody's system call but the
 * mirror's own: it is seen here, before a call that waits, perhaps for just that end to go. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "augmenter/augmenter.h"
#include "base/io.h"

/* A thread on its way out has no descriptors, and did not close any of them: the kernel lets go of them for
 * it, after it has set PF_EXITING (linux/sched.h). */
static gboolean
is_leaving(Augmenter *augmenter, pid_t tid)
{
  enum { PF_EXITING = 4 };
  char path[32], state = 'X';
  guint flags = PF_EXITING;
  snprintf(path, sizeof path, "%d/stat", tid);
  g_autofree char *text = io_read_file_at(augmenter->sandbox->proc_fd, path, 4096);
  const char *name_end = text ? strrchr(text, ')') : NULL;
  return !name_end || sscanf(name_end + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2 ||
         flags & PF_EXITING || state == 'Z';
}

/* FALSE: what was seen may be of a thread that was leaving, and proves nothing. */
static gboolean
note_pins_of(Augmenter *augmenter, pid_t tid, GHashTable *open)
{
  char path[32];
  snprintf(path, sizeof path, "%d/fd", tid);
  int fd = openat(augmenter->sandbox->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
  if (!directory) {
    io_close(&fd);
    return FALSE;
  }
  for (struct dirent *entry; (entry = readdir(directory));) {
    gint32 pin;
    if (g_ascii_isdigit(*entry->d_name) && augmenter_pin_of(augmenter, tid, atoi(entry->d_name), &pin))
      g_hash_table_add(open, GINT_TO_POINTER(pin));
  }
  closedir(directory);
  return !is_leaving(augmenter, tid);
}

static gboolean note_process(Augmenter *augmenter, pid_t pid, GHashTable *open, guint depth);

static void
note_children(Augmenter *augmenter, pid_t pid, pid_t tid, GHashTable *open, guint depth)
{
  char path[64];
  snprintf(path, sizeof path, "%d/task/%d/children", pid, tid);
  g_autofree char *text = io_read_file_at(augmenter->sandbox->proc_fd, path, 1 << 16);
  for (char *at = text, *end; at && *at; at = end) {
    pid_t child = strtol(at, &end, 10);
    if (end == at)
      break;
    note_process(augmenter, child, open, depth + 1);
    end += *end == ' ';
  }
}

/* A process's pins and its children's. Its threads have one table of descriptors: that of one which stays is
 * enough. FALSE: none does. */
static gboolean
note_process(Augmenter *augmenter, pid_t pid, GHashTable *open, guint depth)
{
  char path[32];
  gboolean noted = FALSE;
  snprintf(path, sizeof path, "%d/task", pid);
  int fd = openat(augmenter->sandbox->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
  if (!directory) {
    io_close(&fd);
    return FALSE;
  }
  for (struct dirent *entry; depth < 64 && (entry = readdir(directory));) {
    pid_t tid = atoi(entry->d_name);
    if (tid <= 0)
      continue;
    noted = noted || note_pins_of(augmenter, tid, open);
    note_children(augmenter, pid, tid, open, depth);
  }
  closedir(directory);
  return noted;
}

gboolean
augmenter_pins_sync(Augmenter *augmenter, GError **error)
{
  g_autoptr(GHashTable) open = g_hash_table_new(NULL, NULL);
  g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(gint32));
  if (!note_process(augmenter, augmenter->process->pid, open, 0))
    return TRUE;
  GHashTableIter iterator;
  gpointer key;
  g_hash_table_iter_init(&iterator, augmenter->pins);
  while (g_hash_table_iter_next(&iterator, &key, NULL)) {
    gint32 pin = GPOINTER_TO_INT(key);
    if (g_hash_table_contains(open, key))
      continue;
    g_array_append_val(gone, pin);
    g_hash_table_iter_remove(&iterator);
  }
  if (!gone->len)
    return TRUE;
  Doppel__Engine__ClosePins message = DOPPEL__ENGINE__CLOSE_PINS__INIT;
  message.n_pin = gone->len;
  message.pin = (gint32 *)(void *)gone->data;
  return ENGINE_SEND(augmenter->link, CLOSE_PINS, close_pins, &message, error);
}
