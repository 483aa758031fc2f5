#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "augmenter/paths_private.h"
#include "replica/path.h"

enum { HEADERS_MAX = 256 };

/* The kernel looks at so much (binfmt_script, BINPRM_BUF_SIZE). */
#define LINE_MAX_BYTES 256

static char *
script_interpreter(const char *line, gsize length)
{
  gsize at = 2;
  while (at < length && (line[at] == ' ' || line[at] == '\t'))
    at++;
  gsize end = at;
  while (end < length && line[end] && !strchr(" \t\n", line[end]))
    end++;
  return end > at ? g_strndup(line + at, end - at) : NULL;
}

static char *
elf_interpreter(int fd, const guint8 *head, gsize length)
{
  Elf64_Ehdr header;
  if (length < sizeof header)
    return NULL;
  memcpy(&header, head, sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
    return NULL;
  for (guint i = 0; i < MIN(header.e_phnum, HEADERS_MAX); i++) {
    Elf64_Phdr segment;
    char path[REPLICA_PATH_MAX] = "";
    if (pread(fd, &segment, sizeof segment, header.e_phoff + i * sizeof segment) != sizeof segment)
      return NULL;
    if (segment.p_type != PT_INTERP)
      continue;
    if (segment.p_filesz >= sizeof path ||
        pread(fd, path, segment.p_filesz, segment.p_offset) != (ssize_t)segment.p_filesz)
      return NULL;
    return *path == '/' ? g_strdup(path) : NULL;
  }
  return NULL;
}

char *
program_interpreter_of(int fd)
{
  guint8 head[LINE_MAX_BYTES];
  ssize_t length = pread(fd, head, sizeof head, 0);
  if (length >= 4 && memcmp(head, "#!", 2) == 0)
    return script_interpreter((const char *)head, length);
  if (length >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
    return elf_interpreter(fd, head, length);
  return NULL;
}

char *
program_interpreter(const Paths *paths, const char *path)
{
  g_auto(Fd) fd = openat(paths->root, path + 1, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  return fd < 0 ? NULL : program_interpreter_of(fd);
}
