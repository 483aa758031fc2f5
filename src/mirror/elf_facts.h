/* What an ELF file says about itself, read without running it: elf(5), the System V gABI.
 *
 * Files are read, never mapped, so that one that shrinks meanwhile is an error and no signal. Everything in a
 * file is hostile until checked; what does not fit is an error, never a crash. */
#pragma once

#include <glib.h>

typedef struct {
  guint64 vaddr, offset; /* as in the program header */
  guint64 file_size, memory_size;
  guint32 flags; /* PF_R, PF_W, PF_X */
} ElfSegment;

enum { ELF_FACTS_MARKS_MAX = 1024 };

typedef struct {
  char *path;
  gboolean is_64;
  guint16 machine;    /* EM_* */
  guint16 type;       /* ET_EXEC or ET_DYN (a position-independent program or a library) */
  guint64 entry;      /* 0: none, a library */
  gboolean is_static; /* needs neither a loader nor libraries */
  gboolean is_pie;    /* the program is ET_DYN: its addresses are relative to where it is loaded */
  gboolean setuid, setgid;
  gboolean capabilities; /* the file carries capabilities(7) */
  guint64 device, inode; /* of the file that was read */

  char *interpreter; /* NULL: none */
  char *build_id;    /* hexadecimal, NULL: none */
  GArray *segments;  /* of ElfSegment: the PT_LOADs, in the file's order */
  GArray *marks;     /* of guint64: addresses, unchecked, in functions that are marked by
                        include/doppel/offload.h; the first ELF_FACTS_MARKS_MAX */

  char *soname;             /* NULL: none */
  char **needed;            /* DT_NEEDED, in order; never NULL */
  char *rpath, *runpath;    /* NULL: none */
  gboolean no_default_path; /* DF_1_NODEFLIB */
} ElfFacts;

/* Reads the facts of the ELF file `path`. NULL with an error that says what the file is instead: a script
 * (and then which program to name), not ELF, cut short, an object file. Files of other processors are read
 * too. */
ElfFacts *elf_facts_read(const char *path, GError **error);

/* The same from an open descriptor, which stays the caller's; `path` is for messages and $ORIGIN. */
ElfFacts *elf_facts_read_fd(int fd, const char *path, GError **error);

void elf_facts_free(ElfFacts *facts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ElfFacts, elf_facts_free)

/* Finds the program that execvp(3) would start: `name` itself if it has a slash, or along $PATH. An absolute
 * path, to be freed. */
char *elf_facts_find_program(const char *name, GError **error);

/* Whether doppel can run the file as a program here. FALSE with an error that says why not: another
 * processor, not a program, gains privileges. */
gboolean elf_facts_check_program(const ElfFacts *facts, GError **error);

/* "x86-64", "aarch64", ... or "machine N". */
const char *elf_facts_machine_name(guint16 machine);
guint16 elf_facts_host_machine(void);

/* What to add to the file's addresses to get the process's, from one line of /proc/PID/maps: the mapping at
 * `start` of the file's bytes from `offset`. Give the first mapping of the file. FALSE when no segment covers
 * the offset. */
gboolean elf_facts_bias(const ElfFacts *facts, guint64 start, guint64 offset, guint64 *bias);

/* The segment whose bytes in the file hold the address, or NULL. */
const ElfSegment *elf_facts_segment(const ElfFacts *facts, guint64 vaddr);
