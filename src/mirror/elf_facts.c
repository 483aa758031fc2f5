#include "mirror/elf_facts.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define STRING_LIMIT  4096 /* PATH_MAX: a longer interpreter, library name or search path is nonsense */
#define DYNAMIC_LIMIT 4096 /* entries; the largest real libraries have a few hundred */
#define SEGMENT_LIMIT 1024
#define NOTES_LIMIT   (1u << 20) /* bytes of a file's notes; all marks that count take 28 KiB */

/* What include/doppel/offload.h makes. */
#define MARK_NAME "doppel"
#define MARK_TYPE 1

static const struct {
  guint16 machine;
  const char *name;
} machines[] = {
    {EM_X86_64, "x86-64"}, {EM_AARCH64, "aarch64"}, {EM_386, "i386"},   {EM_ARM, "arm"},
    {EM_RISCV, "riscv"},   {EM_PPC64, "ppc64"},     {EM_S390, "s390x"}, {EM_MIPS, "mips"},
};

const char *
elf_facts_machine_name(guint16 machine)
{
  for (gsize i = 0; i < G_N_ELEMENTS(machines); i++)
    if (machines[i].machine == machine)
      return machines[i].name;
  g_autofree char *other = g_strdup_printf("machine %u", machine);
  return g_intern_string(other);
}

guint16
elf_facts_host_machine(void)
{
#if defined(__x86_64__)
  return EM_X86_64;
#elif defined(__aarch64__)
  return EM_AARCH64;
#else
#error "doppel knows x86-64 and aarch64"
#endif
}

void
elf_facts_free(ElfFacts *facts)
{
  if (!facts)
    return;
  g_free(facts->path);
  g_free(facts->interpreter);
  g_free(facts->build_id);
  g_free(facts->soname);
  g_free(facts->rpath);
  g_free(facts->runpath);
  g_strfreev(facts->needed);
  if (facts->segments)
    g_array_unref(facts->segments);
  if (facts->marks)
    g_array_unref(facts->marks);
  g_free(facts);
}

static gboolean
explain_script(int fd, const char *path, GError **error)
{
  char line[256] = {0};
  ssize_t got = pread(fd, line, sizeof line - 1, 0);
  if (got < 2 || line[0] != '#' || line[1] != '!')
    return FALSE;
  line[strcspn(line, "\n")] = '\0';
  char *command = g_strstrip(line + 2);
  g_auto(GStrv) words = g_strsplit_set(command, " \t", 4);
  g_autofree char *base = g_path_get_basename(words[0] ? words[0] : "");
  /* env(1) only looks the interpreter up along PATH, with -S after taking its options apart. */
  guint first = words[0] && g_str_equal(base, "env") ? (g_strcmp0(words[1], "-S") == 0 ? 2 : 1) : 0;
  const char *interpreter = g_strv_length(words) > first ? words[first] : "sh";
  doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                   "%s is a script; the program that runs is its interpreter. Name that instead: %s %s", path,
                   interpreter, path);
  return TRUE;
}

static char *
string_at(int fd, guint64 offset, guint64 limit)
{
  char text[STRING_LIMIT];
  if (offset > G_MAXINT64)
    return NULL;
  ssize_t got = pread(fd, text, MIN(limit, sizeof text), offset);
  if (got <= 0 || !memchr(text, '\0', got))
    return NULL;
  return g_strdup(text);
}

static gboolean
is_note(const GElf_Nhdr *note, const char *name, const char *wanted, guint32 type)
{
  gsize length = strlen(wanted) + 1;
  return note->n_type == type && note->n_namesz == length && memcmp(name, wanted, length) == 0;
}

static char *
hexadecimal(const guint8 *bytes, gsize length)
{
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < length; i++)
    g_string_append_printf(text, "%02x", bytes[i]);
  return g_string_free(text, FALSE);
}

/* `vaddr`: of the description, which says how far from itself the function is. */
static void
add_mark(ElfFacts *facts, const guint8 *description, guint64 vaddr)
{
  guint64 distance;
  memcpy(&distance, description, sizeof distance);
  guint64 mark = vaddr + GUINT64_FROM_LE(distance);
  if (facts->marks->len < ELF_FACTS_MARKS_MAX)
    g_array_append_val(facts->marks, mark);
}

/* `left`: bytes of notes that may still be read, since headers can overlap. */
static void
read_notes(Elf *elf, const GElf_Phdr *segment, ElfFacts *facts, gsize *left)
{
  gsize length = MIN(segment->p_filesz, *left);
  Elf_Data *data =
      elf_getdata_rawchunk(elf, segment->p_offset, length, segment->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
  if (!data)
    return;
  *left -= length;
  GElf_Nhdr note;
  gsize at = 0, next, name_at, bytes_at;
  while ((next = gelf_getnote(data, at, &note, &name_at, &bytes_at)) > 0) {
    const char *name = (const char *)data->d_buf + name_at;
    const guint8 *bytes = (const guint8 *)data->d_buf + bytes_at;
    if (is_note(&note, name, "GNU", NT_GNU_BUILD_ID) && note.n_descsz > 0 && note.n_descsz <= 64 &&
        !facts->build_id)
      facts->build_id = hexadecimal(bytes, note.n_descsz);
    else if (is_note(&note, name, MARK_NAME, MARK_TYPE) && note.n_descsz == sizeof(guint64))
      add_mark(facts, bytes, segment->p_vaddr + bytes_at);
    at = next;
  }
}

const ElfSegment *
elf_facts_segment(const ElfFacts *facts, guint64 vaddr)
{
  for (guint i = 0; i < facts->segments->len; i++) {
    const ElfSegment *segment = &g_array_index(facts->segments, ElfSegment, i);
    if (vaddr >= segment->vaddr && vaddr - segment->vaddr < segment->file_size)
      return segment;
  }
  return NULL;
}

static char *
dynamic_string(int fd, const ElfFacts *facts, guint64 table, guint64 table_size, guint64 at)
{
  const ElfSegment *segment = elf_facts_segment(facts, table);
  if (!segment || at >= table_size)
    return NULL;
  return string_at(fd, segment->offset + (table - segment->vaddr) + at, table_size - at);
}

/* The dynamic section, through the program header, so that files without section headers can be read as the
 * loader does. */
static void
read_dynamic(Elf *elf, int fd, const GElf_Phdr *header, ElfFacts *facts)
{
  Elf_Data *data = elf_getdata_rawchunk(elf, header->p_offset, header->p_filesz, ELF_T_DYN);
  if (!data)
    return;
  guint64 table = 0, table_size = 0;
  gsize count = 0;
  GElf_Dyn entry;
  for (; count < DYNAMIC_LIMIT && gelf_getdyn(data, count, &entry) && entry.d_tag != DT_NULL; count++) {
    if (entry.d_tag == DT_STRTAB)
      table = entry.d_un.d_ptr;
    else if (entry.d_tag == DT_STRSZ)
      table_size = entry.d_un.d_val;
    else if (entry.d_tag == DT_FLAGS_1)
      facts->no_default_path = (entry.d_un.d_val & DF_1_NODEFLIB) != 0;
  }
  g_autoptr(GPtrArray) needed = g_ptr_array_new_with_free_func(g_free);
  for (gsize i = 0; i < count; i++) {
    gelf_getdyn(data, i, &entry);
    char **single = entry.d_tag == DT_SONAME    ? &facts->soname
                    : entry.d_tag == DT_RPATH   ? &facts->rpath
                    : entry.d_tag == DT_RUNPATH ? &facts->runpath
                                                : NULL;
    if (!single && entry.d_tag != DT_NEEDED)
      continue;
    char *text = dynamic_string(fd, facts, table, table_size, entry.d_un.d_val);
    if (!text)
      continue;
    if (single) {
      g_free(*single);
      *single = text;
    } else {
      g_ptr_array_add(needed, text);
    }
  }
  g_strfreev(facts->needed);
  g_ptr_array_add(needed, NULL);
  facts->needed = (char **)g_ptr_array_free(g_steal_pointer(&needed), FALSE);
}

static gboolean
read_segments(Elf *elf, int fd, ElfFacts *facts, GError **error)
{
  gsize count;
  if (elf_getphdrnum(elf, &count) != 0 || count == 0 || count > SEGMENT_LIMIT)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%s has no usable program headers: the file is damaged", facts->path);
  GElf_Phdr header, dynamic = {0};
  gsize notes_left = NOTES_LIMIT;
  for (gsize i = 0; i < count; i++) {
    if (!gelf_getphdr(elf, i, &header))
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s is cut short: %s", facts->path,
                              elf_errmsg(-1));
    ElfSegment segment = {header.p_vaddr, header.p_offset, header.p_filesz, header.p_memsz, header.p_flags};
    switch (header.p_type) {
    case PT_LOAD:
      if (header.p_vaddr + header.p_memsz < header.p_vaddr || header.p_filesz > header.p_memsz ||
          header.p_offset + header.p_filesz < header.p_offset)
        return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                                "%s has an impossible segment: the file is damaged", facts->path);
      g_array_append_val(facts->segments, segment);
      break;
    case PT_INTERP:
      if (!facts->interpreter)
        facts->interpreter = string_at(fd, header.p_offset, header.p_filesz);
      break;
    case PT_NOTE:
      read_notes(elf, &header, facts, &notes_left);
      break;
    case PT_DYNAMIC:
      dynamic = header;
      break;
    }
  }
  if (dynamic.p_type == PT_DYNAMIC)
    read_dynamic(elf, fd, &dynamic, facts);
  return TRUE;
}

static gboolean
read_file_facts(int fd, ElfFacts *facts, GError **error)
{
  struct stat status;
  if (fstat(fd, &status) != 0)
    return doppel_error_errno(error, "cannot read %s", facts->path);
  if (!S_ISREG(status.st_mode))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s is %s, not a program", facts->path,
                            S_ISDIR(status.st_mode) ? "a directory" : "not an ordinary file");
  facts->setuid = (status.st_mode & S_ISUID) != 0;
  facts->setgid = (status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0;
  facts->capabilities = fgetxattr(fd, "security.capability", NULL, 0) > 0;
  facts->device = status.st_dev;
  facts->inode = status.st_ino;
  return TRUE;
}

ElfFacts *
elf_facts_read_fd(int fd, const char *path, GError **error)
{
  g_autoptr(ElfFacts) facts = g_new0(ElfFacts, 1);
  facts->path = g_strdup(path);
  facts->segments = g_array_new(FALSE, FALSE, sizeof(ElfSegment));
  facts->marks = g_array_new(FALSE, FALSE, sizeof(guint64));
  facts->needed = g_new0(char *, 1);
  if (!read_file_facts(fd, facts, error))
    return NULL;
  elf_version(EV_CURRENT);
  Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
  GElf_Ehdr header;
  gboolean good = FALSE;
  if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header)) {
    if (!explain_script(fd, path, error))
      doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                       "%s is not an ELF file, so not a program that this machine runs", path);
  } else if (header.e_type != ET_EXEC && header.e_type != ET_DYN) {
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                     "%s is an ELF file but neither a program nor a shared library", path);
  } else {
    facts->is_64 = gelf_getclass(elf) == ELFCLASS64;
    facts->machine = header.e_machine;
    facts->type = header.e_type;
    facts->entry = header.e_entry;
    facts->is_pie = header.e_type == ET_DYN;
    good = read_segments(elf, fd, facts, error);
    facts->is_static = !facts->interpreter && !facts->needed[0];
  }
  if (elf)
    elf_end(elf);
  return good ? g_steal_pointer(&facts) : NULL;
}

ElfFacts *
elf_facts_read(const char *path, GError **error)
{
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT)
      doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no file %s", path);
    else
      doppel_error_errno(error, "cannot read %s", path);
    return NULL;
  }
  return elf_facts_read_fd(fd, path, error);
}

static gboolean
is_program(const char *path)
{
  struct stat status;
  return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

char *
elf_facts_find_program(const char *name, GError **error)
{
  if (strchr(name, '/')) {
    if (is_program(name))
      return g_canonicalize_filename(name, NULL);
    struct stat status;
    if (stat(name, &status) != 0)
      doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no program %s: %s", name, g_strerror(errno));
    else if (!S_ISREG(status.st_mode))
      doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s is not a program: it is %s", name,
                       S_ISDIR(status.st_mode) ? "a directory" : "no ordinary file");
    else
      doppel_error_set(error, DOPPEL_ERROR_DENIED, "%s may not be executed: chmod +x makes it a program",
                       name);
    return NULL;
  }
  const char *path = g_getenv("PATH");
  g_auto(GStrv) folders = g_strsplit(path ? path : "/usr/local/bin:/usr/bin:/bin", ":", -1);
  for (char **folder = folders; *folder && *name; folder++) {
    g_autofree char *candidate = g_build_filename(**folder ? *folder : ".", name, NULL);
    if (is_program(candidate))
      return g_canonicalize_filename(candidate, NULL);
  }
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                   "no program \"%s\" along PATH; for a file in this directory write ./%s", name, name);
  return NULL;
}

gboolean
elf_facts_check_program(const ElfFacts *facts, GError **error)
{
  if (facts->machine != elf_facts_host_machine() || !facts->is_64)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "%s is a%s program for %s; this is %s. doppel runs the machine's own 64-bit programs", facts->path,
        facts->is_64 ? "" : " 32-bit", elf_facts_machine_name(facts->machine),
        elf_facts_machine_name(elf_facts_host_machine()));
  if (facts->entry == 0 || (facts->soname && !facts->interpreter))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%s is a shared library, not a program. Name the program that uses it, and its "
                            "functions as %s:FUNCTION",
                            facts->path, facts->soname ? facts->soname : "LIB");
  if (facts->setuid || facts->setgid || facts->capabilities)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "%s gains privileges when it starts (%s), and the kernel takes these from a program that is being "
        "observed. Run it without doppel",
        facts->path,
        facts->setuid   ? "set-user-ID"
        : facts->setgid ? "set-group-ID"
                        : "file capabilities");
  return TRUE;
}

gboolean
elf_facts_bias(const ElfFacts *facts, guint64 start, guint64 offset, guint64 *bias)
{
  guint64 page = sysconf(_SC_PAGESIZE);
  const ElfSegment *found = NULL;
  for (guint i = 0; i < facts->segments->len; i++) {
    const ElfSegment *segment = &g_array_index(facts->segments, ElfSegment, i);
    guint64 first = segment->offset & -page;
    /* One page of the file can belong to two segments; the mapping's start tells which. */
    if (offset == first) {
      found = segment;
      break;
    }
    if (!found && offset > first && offset < segment->offset + segment->file_size)
      found = segment;
  }
  if (!found)
    return FALSE;
  *bias = start - (offset - found->offset + found->vaddr);
  return TRUE;
}
