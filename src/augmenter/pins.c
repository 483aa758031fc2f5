/* Which pins the clone's processes still have open. Closing a placeholder is nobody's system call but the
 * mirror's own: it is seen here, before a call that waits, perhaps for just that end to go. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "augmenter/augmenter.h"
#include "base/io.h"

static void
note_pins_of(Augmenter *augmenter, pid_t pid, GHashTable *open)
{
  char path[32];
  snprintf(path, sizeof path, "%d/fd", pid);
  int fd = openat(augmenter->sandbox->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
  if (!directory) {
    io_close(&fd);
    return;
  }
  for (struct dirent *entry; (entry = readdir(directory));) {
    gint32 pin;
    if (g_ascii_isdigit(*entry->d_name) && augmenter_pin_of(augmenter, pid, atoi(entry->d_name), &pin))
      g_hash_table_add(open, GINT_TO_POINTER(pin));
  }
  closedir(directory);
}

static void
note_process(Augmenter *augmenter, pid_t pid, GHashTable *open, guint depth)
{
  char path[64];
  snprintf(path, sizeof path, "%d/task", pid);
  note_pins_of(augmenter, pid, open);
  int fd = openat(augmenter->sandbox->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
  if (!directory) {
    io_close(&fd);
    return;
  }
  for (struct dirent *entry; depth < 64 && (entry = readdir(directory));) {
    if (!g_ascii_isdigit(*entry->d_name))
      continue;
    snprintf(path, sizeof path, "%d/task/%d/children", pid, atoi(entry->d_name));
    g_autofree char *text = io_read_file_at(augmenter->sandbox->proc_fd, path, 1 << 16);
    for (char *at = text, *end; at && *at; at = end) {
      pid_t child = strtol(at, &end, 10);
      if (end == at)
        break;
      note_process(augmenter, child, open, depth + 1);
      end += *end == ' ';
    }
  }
  closedir(directory);
}

gboolean
augmenter_pins_sync(Augmenter *augmenter, GError **error)
{
  g_autoptr(GHashTable) open = g_hash_table_new(NULL, NULL);
  g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(gint32));
  note_process(augmenter, augmenter->process->pid, open, 0);
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
