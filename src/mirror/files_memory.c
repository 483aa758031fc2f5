/* Why it is right: procfs tells the number of open descriptors (fs/proc/fd.c, proc_fd_getattr(), Linux 6.2),
 * and fdinfo of each one its inode, mount, flags and offset. As many as before, each known number open, and
 * each with the same text: then each is the same file, opened in the same way. What the text does not tell is
 * looked at besides: the name of a file (it may have been moved), and whether it is one that came with the
 * program. Where descriptors may share one open file, or a text changes by itself, nothing is remembered. */
#include "mirror/files_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

enum { REMEMBERED_MAX = 64, TEXT_MAX = 512, LINK_MAX_BYTES = 4096 + 64 };

typedef struct {
  const MirrorFile *file;
  int info; /* its fdinfo, kept open: it tells of whatever has the number when it is read */
  gboolean inherited;
  char *text, *link;
} Known;

struct MirrorFilesMemory {
  MirrorFiles *files;
  MirrorFileInherited inherited;
  Known known[REMEMBERED_MAX];
};

void
mirror_files_memory_free(MirrorFilesMemory *memory)
{
  if (!memory)
    return;
  for (guint i = 0; i < memory->files->len; i++) {
    io_close(&memory->known[i].info);
    g_free(memory->known[i].text);
    g_free(memory->known[i].link);
  }
  g_ptr_array_unref(memory->files);
  g_free(memory);
}

/* How many descriptors are open; 0 where this kernel does not say. */
static gint64
count_open(MirrorProcess *process)
{
  struct stat facts;
  return fstatat(process->directory, "fd", &facts, 0) == 0 ? facts.st_size : 0;
}

static gboolean
read_text(int fd, char text[TEXT_MAX])
{
  ssize_t got = pread(fd, text, TEXT_MAX - 1, 0);
  if (got <= 0 || got == TEXT_MAX - 1)
    return FALSE;
  text[got] = '\0';
  return TRUE;
}

static gboolean
read_link(MirrorProcess *process, int number, char link[LINK_MAX_BYTES])
{
  char path[32];
  snprintf(path, sizeof path, "fd/%d", number);
  ssize_t length = readlinkat(process->directory, path, link, LINK_MAX_BYTES - 1);
  if (length < 0)
    return FALSE;
  link[length] = '\0';
  return TRUE;
}

/* A pin's offset is the device's own affair: the first line is left out. */
static const char *
what_counts(const MirrorFile *file, const char *text)
{
  const char *line = file->kind == MIRROR_FILE_PIN ? strchr(text, '\n') : NULL;
  return line ? line : text;
}

/* What is neither a file nor a directory is a pin, whoever opened it. */
static gboolean
depends_on_origin(const MirrorFile *file)
{
  guint32 type = file->device_mode & S_IFMT;
  return file->kind == MIRROR_FILE_REPLICA || !type || type == S_IFREG || type == S_IFDIR;
}

static gboolean
as_it_was(MirrorProcess *process, const Known *known, MirrorFileInherited inherited, void *user)
{
  char text[TEXT_MAX], link[LINK_MAX_BYTES];
  const MirrorFile *file = known->file;
  if (!read_text(known->info, text) || strcmp(what_counts(file, text), what_counts(file, known->text)) != 0)
    return FALSE;
  if (inherited && depends_on_origin(file) && inherited(file->number, user) != known->inherited)
    return FALSE;
  return file->kind != MIRROR_FILE_REPLICA ||
         (read_link(process, file->number, link) && strcmp(link, known->link) == 0);
}

MirrorFiles *
mirror_files_recall(MirrorProcess *process, MirrorFileInherited inherited, void *user)
{
  const MirrorFilesMemory *memory = process->files;
  if (!memory || memory->inherited != inherited || count_open(process) != memory->files->len)
    return NULL;
  for (guint i = 0; i < memory->files->len; i++)
    if (!as_it_was(process, &memory->known[i], inherited, user))
      return NULL;
  return g_ptr_array_ref(memory->files);
}

/* Two descriptors of one inode may change places, or come to share what they share not, under the same texts.
 */
static gboolean
can_be_told_apart(const MirrorFiles *files)
{
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    if (file->kind == MIRROR_FILE_LOCAL)
      return FALSE;
    for (guint k = 0; file->kind == MIRROR_FILE_REPLICA && k < i; k++) {
      const MirrorFile *other = files->pdata[k];
      if (other->kind == MIRROR_FILE_REPLICA && strcmp(other->path, file->path) == 0)
        return FALSE;
    }
  }
  return TRUE;
}

static gboolean
remember_one(MirrorProcess *process, const MirrorFile *file, Known *known)
{
  char path[32], text[TEXT_MAX], link[LINK_MAX_BYTES];
  snprintf(path, sizeof path, "fdinfo/%d", file->number);
  known->file = file;
  known->info = openat(process->directory, path, O_RDONLY | O_CLOEXEC);
  if (known->info < 0 || !read_text(known->info, text) || !strstr(text, "\nino:") ||
      !read_link(process, file->number, link))
    return FALSE;
  known->text = g_strdup(text);
  known->link = g_strdup(link);
  return TRUE;
}

void
mirror_files_remember(MirrorProcess *process, MirrorFiles *files, MirrorFileInherited inherited, void *user)
{
  g_clear_pointer(&process->files, mirror_files_memory_free);
  if (files->len > REMEMBERED_MAX || files->len != count_open(process) || !can_be_told_apart(files))
    return;
  MirrorFilesMemory *memory = g_new0(MirrorFilesMemory, 1);
  memory->files = g_ptr_array_ref(files);
  memory->inherited = inherited;
  process->files = memory;
  for (guint i = 0; i < files->len; i++)
    memory->known[i].info = -1;
  for (guint i = 0; i < files->len; i++) {
    Known *known = &memory->known[i];
    known->inherited = inherited && inherited(((MirrorFile *)files->pdata[i])->number, user);
    if (!remember_one(process, files->pdata[i], known)) {
      g_clear_pointer(&process->files, mirror_files_memory_free);
      return;
    }
  }
}
