/* What include/doppel/offload.h leaves in programs and libraries, and what is made of it. */
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "fixtures.h"
#include "mirror/symbols.h"

static const char *const c_names[] = {"fixture_marked_once",     "fixture_marked_inline",
                                      "fixture_marked_constant", "fixture_marked_public",
                                      "fixture_marked_tail",     NULL};
/* A lambda's name is the compiler's own. */
static const char *const cpp_names[] = {"int marked::scale<int>(int)",
                                        "double marked::scale<double>(double)",
                                        "marked::shared(int)",
                                        "marked::Shape::Shape(int)",
                                        "marked::Shape::area() const",
                                        "marked::Shape::operator()(int)",
                                        "(anonymous namespace)::hidden(int)",
                                        "main::",
                                        NULL};

static SymbolFile *
open_fixture(const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = fixture_path(name);
  SymbolFile *file = symbols_open(path, &error);
  g_assert_no_error(error);
  return file;
}

static char **
builds(void)
{
  char **names = g_strsplit(g_getenv("MARKED"), " ", -1);
  g_assert_cmpuint(g_strv_length(names), >=, 16);
  return names;
}

/* A function has several marks where there are copies of it, which are named after it. */
static void
expect_names(const SymbolFile *file, const char *const *names)
{
  guint found = 0;
  const GPtrArray *marked = symbols_marked(file);
  for (guint i = 0; names[i]; i++) {
    guint before = found;
    for (guint k = 0; k < marked->len; k++) {
      g_autofree char *name = symbols_display_name(marked->pdata[k]);
      gsize length = strlen(names[i]);
      found += strncmp(name, names[i], length) == 0 &&
               (name[length] == '\0' || name[length] == '.' || names[i][length - 1] == ':');
    }
    if (found == before)
      g_error("%s: %s is not marked", symbols_facts(file)->path, names[i]);
  }
  g_assert_cmpuint(found, ==, marked->len);
}

static void
test_builds(void)
{
  g_auto(GStrv) names = builds();
  for (char **name = names; *name; name++) {
    g_test_message("%s", *name);
    g_autoptr(SymbolFile) file = open_fixture(*name);
    expect_names(file, strstr(*name, "-cpp-") ? cpp_names : c_names);
    for (guint i = 0; i < symbols_count(file); i++) {
      const Symbol *symbol = symbols_at(file, i);
      gboolean named = strstr(symbol->name, "unmarked") || g_str_equal(symbol->name, "main");
      g_assert_false(named && symbols_is_marked(file, symbol));
    }
  }
}

static void
test_stripped(void)
{
  g_auto(GStrv) names = builds();
  for (char **name = names; *name; name++) {
    if (g_str_has_prefix(*name, "marked-for-"))
      continue;
    g_test_message("%s", *name);
    g_autofree char *name_stripped = g_strconcat(*name, "-stripped", NULL);
    g_autoptr(SymbolFile) file = open_fixture(*name), stripped = open_fixture(name_stripped);
    g_assert_cmpuint(symbols_marked(stripped)->len, ==, symbols_marked(file)->len);
    for (guint i = 0; i < symbols_marked(file)->len; i++) {
      const Symbol *symbol = symbols_marked(file)->pdata[i], *same = symbols_marked(stripped)->pdata[i];
      g_assert_cmphex(same->vaddr, ==, symbol->vaddr);
      g_assert_true(symbols_is_marked(stripped, symbol));
    }
  }
}

static void
expect_untouched(Elf *elf, const GElf_Shdr *notes)
{
  GElf_Shdr header;
  GElf_Rela entry;
  for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
    Elf_Data *data =
        gelf_getshdr(section, &header) && header.sh_type == SHT_RELA ? elf_getdata(section, NULL) : NULL;
    for (int i = 0; data && gelf_getrela(data, i, &entry); i++)
      g_assert_false(entry.r_offset >= notes->sh_addr && entry.r_offset < notes->sh_addr + notes->sh_size);
  }
}

static void
test_no_relocations(void)
{
  g_auto(GStrv) names = builds();
  for (char **name = names; *name; name++) {
    g_autofree char *path = fixture_path(*name);
    g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    gsize strings;
    g_assert_cmpint(elf_getshdrstrndx(elf, &strings), ==, 0);
    guint found = 0;
    GElf_Shdr header;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
      g_assert_nonnull(gelf_getshdr(section, &header));
      if (g_strcmp0(elf_strptr(elf, strings, header.sh_name), ".note.doppel") != 0)
        continue;
      found++;
      g_assert_cmpuint(header.sh_type, ==, SHT_NOTE);
      g_assert_cmpuint(header.sh_flags & (SHF_ALLOC | SHF_WRITE), ==, SHF_ALLOC);
      expect_untouched(elf, &header);
    }
    g_assert_cmpuint(found, ==, 1);
    elf_end(elf);
  }
}

static void
test_none(void)
{
  g_autoptr(SymbolFile) file = open_fixture("fixture-program");
  g_assert_cmpuint(symbols_facts(file)->marks->len, ==, 0);
  g_assert_cmpuint(symbols_marked(file)->len, ==, 0);
  g_assert_false(symbols_is_marked(file, symbols_at(file, 0)));
}

/* ---- hostile files ---- */

typedef struct {
  guint32 name_size, size, type;
  char name[8];
  guint64 distance;
} __attribute__((packed)) Note;
static const Note good = {7, 8, 1, "doppel", 16};

/* A program of nothing but notes, which `headers` program headers name. */
static ElfFacts *
facts_of(const void *notes, gsize length, guint headers)
{
  gsize table = sizeof(Elf64_Ehdr) + headers * sizeof(Elf64_Phdr);
  Elf64_Ehdr start = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                      .e_type = ET_DYN,
                      .e_machine = EM_X86_64,
                      .e_version = EV_CURRENT,
                      .e_ehsize = sizeof start,
                      .e_phoff = sizeof start,
                      .e_phentsize = sizeof(Elf64_Phdr),
                      .e_phnum = headers};
  Elf64_Phdr header = {
      .p_type = PT_NOTE, .p_offset = table, .p_vaddr = 0x1000, .p_filesz = length, .p_align = 4};
  g_auto(Fd) fd = memfd_create("notes", MFD_CLOEXEC);
  g_assert_true(io_write_all(fd, &start, sizeof start));
  for (guint i = 0; i < headers; i++)
    g_assert_true(io_write_all(fd, &header, sizeof header));
  g_assert_true(io_write_all(fd, notes, length));
  g_autoptr(GError) error = NULL;
  ElfFacts *facts = elf_facts_read_fd(fd, "notes", &error);
  g_assert_no_error(error);
  return facts;
}

static guint
marks_of(const Note *notes, gsize length)
{
  g_autoptr(ElfFacts) facts = facts_of(notes, length, 1);
  return facts->marks->len;
}

static void
test_other_notes(void)
{
  g_assert_cmpuint(marks_of(&good, sizeof good), ==, 1);
  Note other[] = {good, good};
  other[0].type = 2;
  g_assert_cmpuint(marks_of(other, sizeof other), ==, 1);
  other[0] = good;
  memcpy(other[0].name, "doppem", 6);
  g_assert_cmpuint(marks_of(other, sizeof other), ==, 1);
  other[0] = good;
  other[0].name_size = 8; /* another name: one with two zeros */
  g_assert_cmpuint(marks_of(other, sizeof other), ==, 1);
  other[0].name_size = 6;
  g_assert_cmpuint(marks_of(other, sizeof other), ==, 1);
}

static void
test_damaged_notes(void)
{
  for (gsize length = 0; length < sizeof good; length++)
    g_assert_cmpuint(marks_of(&good, length), ==, 0);
  static const guint32 sizes[] = {0, 1, 7, 9, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};
  for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
    Note note = good;
    note.size = sizes[i];
    g_assert_cmpuint(marks_of(&note, sizeof note), ==, 0);
    note = good;
    note.name_size = sizes[i] == 7 ? 5 : sizes[i];
    g_assert_cmpuint(marks_of(&note, sizeof note), ==, 0);
  }
}

static void
test_many(void)
{
  g_autofree Note *notes = g_new(Note, 5000);
  for (guint i = 0; i < 5000; i++)
    notes[i] = good;
  g_autoptr(ElfFacts) once = facts_of(notes, 5000 * sizeof *notes, 1);
  g_assert_cmpuint(once->marks->len, ==, ELF_FACTS_MARKS_MAX);
  /* Of headers that name the same notes the first megabyte counts. */
  g_autoptr(ElfFacts) often = facts_of(&good, sizeof good, 900);
  g_assert_cmpuint(often->marks->len, ==, 900);
  g_autofree guint8 *empty = g_malloc0((1 << 20) + sizeof good);
  memcpy(empty + (1 << 20), &good, sizeof good);
  g_autoptr(ElfFacts) beyond = facts_of(empty, (1 << 20) + sizeof good, 3);
  g_assert_cmpuint(beyond->marks->len, ==, 0);
}

/* A real file whose marks point anywhere: what is made of them are functions all the same. */
static void
test_wild_marks(void)
{
  guint32 seed = g_test_rand_int();
  g_test_message("seed %u", seed);
  g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
  g_autoptr(SymbolFile) whole = open_fixture("marked-cc-cpp-pie");
  guint resolved = 0;
  for (int stripped = 0; stripped < 2; stripped++) {
    g_autofree char *path = fixture_path(stripped ? "marked-cc-cpp-pie-stripped" : "marked-cc-cpp-pie");
    g_autofree char *bytes = NULL;
    gsize length, found = 0;
    g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
    for (guint round = 0; round < 300; round++) {
      found = 0;
      for (gsize at = 0; at + sizeof(Note) <= length; at += 4) {
        if (memcmp(bytes + at, &good, offsetof(Note, distance)) != 0)
          continue;
        found++;
        /* Around the code, mostly. */
        gint64 distance = g_rand_int_range(rand, 0x400, 0x1800);
        if (g_rand_int_range(rand, 0, 8) == 0)
          distance = (gint64)((guint64)g_rand_int(rand) << 32 | g_rand_int(rand));
        memcpy(bytes + at + offsetof(Note, distance), &distance, sizeof distance);
      }
      g_auto(Fd) fd = memfd_create("wild", MFD_CLOEXEC);
      g_assert_true(io_write_all(fd, bytes, length));
      g_autoptr(SymbolFile) file = symbols_open_fd(fd, "wild", NULL);
      g_assert_nonnull(file);
      guint64 last = 0;
      for (guint i = 0; i < symbols_marked(file)->len; i++) {
        const Symbol *symbol = symbols_marked(file)->pdata[i];
        const Symbol *real = symbols_enclosing(whole, symbol->vaddr);
        g_assert_true(real && real->vaddr == symbol->vaddr);
        g_assert_true(i == 0 || symbol->vaddr > last);
        last = symbol->vaddr;
        resolved++;
      }
    }
    g_assert_cmpuint(found, >=, 8);
  }
  g_assert_cmpuint(resolved, >, 100);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/marks/builds", test_builds);
  g_test_add_func("/marks/stripped", test_stripped);
  g_test_add_func("/marks/no relocations", test_no_relocations);
  g_test_add_func("/marks/none", test_none);
  g_test_add_func("/marks/other notes", test_other_notes);
  g_test_add_func("/marks/damaged notes", test_damaged_notes);
  g_test_add_func("/marks/many", test_many);
  g_test_add_func("/marks/wild marks", test_wild_marks);
  return g_test_run();
}
