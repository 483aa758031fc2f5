#include "mirror/symbols.h"

#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/symbols_demangle.h"
#include "mirror/symbols_marks.h"

#define NAME_LIMIT (16u << 10)
#define NAMES_LIMIT                                                                                          \
  (256u << 20) /* bytes of all names: a file whose symbols all share one long name must not fill memory */
#define SYMBOL_LIMIT (4u << 20) /* the largest programs with debug symbols have about a million functions */

struct SymbolFile {
  ElfFacts *facts;
  GArray *functions;    /* of Symbol, by address then name */
  GPtrArray *addresses; /* of Symbol: made up for queries by address */
  GPtrArray *marked;    /* of Symbol in the former two, by address */
  GArray *stubs;        /* of ElfSegment: the procedure linkage tables */
  GHashTable *imports;  /* set of names */
  GHashTable *slots;    /* name -> GArray of guint64; IRELATIVE under "*<resolver>" */
  GStringChunk *strings;
  gsize names_length;
};

typedef struct {
  Elf *elf;
  Elf_Data *versions;        /* of .gnu.version, NULL: none */
  GHashTable *version_names; /* index -> name */
} Tables;

const ElfFacts *
symbols_facts(const SymbolFile *file)
{
  return file->facts;
}

guint
symbols_count(const SymbolFile *file)
{
  return file->functions->len;
}

const Symbol *
symbols_at(const SymbolFile *file, guint index)
{
  return &g_array_index(file->functions, Symbol, index);
}

const GPtrArray *
symbols_marked(const SymbolFile *file)
{
  return file->marked;
}

gboolean
symbols_is_marked(const SymbolFile *file, const Symbol *symbol)
{
  guint low = 0, high = file->marked->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    const Symbol *marked = file->marked->pdata[middle];
    if (marked->vaddr == symbol->vaddr)
      return TRUE;
    if (marked->vaddr < symbol->vaddr)
      low = middle + 1;
    else
      high = middle;
  }
  return FALSE;
}

gboolean
symbols_imports(const SymbolFile *file, const char *name)
{
  return g_hash_table_contains(file->imports, name);
}

static const char *
keep_name(SymbolFile *file, const char *text, gsize length)
{
  file->names_length += length + 1;
  if (length == 0 || length >= NAME_LIMIT || file->names_length > NAMES_LIMIT)
    return NULL;
  return g_string_chunk_insert_len(file->strings, text, length);
}

static gboolean
is_executable(const ElfFacts *facts, guint64 vaddr, guint64 *offset)
{
  const ElfSegment *segment = elf_facts_segment(facts, vaddr);
  if (!segment || !(segment->flags & PF_X))
    return FALSE;
  *offset = segment->offset + (vaddr - segment->vaddr);
  return TRUE;
}

static void
add_function(SymbolFile *file, const GElf_Sym *entry, const char *text, const char *version, gboolean dynamic)
{
  guint64 offset;
  if (!is_executable(file->facts, entry->st_value, &offset))
    return;
  /* ".symtab" has versions in the name itself. */
  const char *at = strchr(text, '@');
  gsize length = at && at > text ? (gsize)(at - text) : strnlen(text, NAME_LIMIT);
  /* The unlikely half of a function is jumped to, never called. */
  if (g_strstr_len(text, length, ".cold"))
    return;
  Symbol symbol = {.vaddr = entry->st_value, .offset = offset, .size = entry->st_size, .dynamic = dynamic};
  symbol.name = keep_name(file, text, length);
  if (at && at > text)
    version = at + strspn(at, "@");
  symbol.version = version && *version ? keep_name(file, version, strnlen(version, NAME_LIMIT)) : NULL;
  symbol.kind = GELF_ST_TYPE(entry->st_info) == STT_GNU_IFUNC ? SYMBOL_IFUNC : SYMBOL_FUNCTION;
  symbol.binding = GELF_ST_BIND(entry->st_info) == STB_LOCAL  ? SYMBOL_LOCAL
                   : GELF_ST_BIND(entry->st_info) == STB_WEAK ? SYMBOL_WEAK
                                                              : SYMBOL_GLOBAL;
  if (symbol.name)
    g_array_append_val(file->functions, symbol);
}

static const char *
version_of(const Tables *tables, gsize index)
{
  GElf_Versym number;
  if (!tables->versions || !gelf_getversym(tables->versions, index, &number))
    return NULL;
  return g_hash_table_lookup(tables->version_names, GUINT_TO_POINTER(number & 0x7fff));
}

static void
read_symbols(SymbolFile *file, const Tables *tables, Elf_Scn *section, gboolean dynamic)
{
  GElf_Shdr header;
  Elf_Data *data = elf_getdata(section, NULL);
  if (!data || !gelf_getshdr(section, &header))
    return;
  GElf_Sym entry;
  for (gsize i = 0; i < SYMBOL_LIMIT && gelf_getsym(data, i, &entry); i++) {
    int type = GELF_ST_TYPE(entry.st_info);
    gboolean function = type == STT_FUNC || type == STT_GNU_IFUNC;
    if (!function && !(dynamic && type == STT_NOTYPE && entry.st_shndx == SHN_UNDEF))
      continue;
    const char *name = elf_strptr(tables->elf, header.sh_link, entry.st_name);
    if (!name || !*name)
      continue;
    if (entry.st_shndx != SHN_UNDEF) {
      add_function(file, &entry, name, dynamic ? version_of(tables, i) : NULL, dynamic);
    } else if (dynamic) {
      const char *kept = keep_name(file, name, strnlen(name, NAME_LIMIT));
      if (kept)
        g_hash_table_add(file->imports, (gpointer)kept);
    }
  }
}

static void
add_slot(SymbolFile *file, const char *key, guint64 address)
{
  GArray *slots = g_hash_table_lookup(file->slots, key);
  if (!slots) {
    const char *kept = keep_name(file, key, strnlen(key, NAME_LIMIT));
    if (!kept)
      return;
    slots = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_hash_table_insert(file->slots, (gpointer)kept, slots);
  }
  g_array_append_val(slots, address);
}

static const struct {
  guint16 machine;
  guint32 jump_slot, glob_dat, word, irelative;
} relocation_types[] = {
    {EM_X86_64, R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT, R_X86_64_64, R_X86_64_IRELATIVE},
    {EM_AARCH64, R_AARCH64_JUMP_SLOT, R_AARCH64_GLOB_DAT, R_AARCH64_ABS64, R_AARCH64_IRELATIVE},
};

static void
read_relocations(SymbolFile *file, Elf *elf, Elf_Scn *section)
{
  GElf_Shdr header, symbols_header;
  Elf_Data *data = elf_getdata(section, NULL);
  guint which = 0;
  while (which < G_N_ELEMENTS(relocation_types) && relocation_types[which].machine != file->facts->machine)
    which++;
  if (!data || !gelf_getshdr(section, &header) || which == G_N_ELEMENTS(relocation_types))
    return;
  Elf_Scn *symbols = elf_getscn(elf, header.sh_link);
  Elf_Data *symbols_data = symbols && header.sh_link ? elf_getdata(symbols, NULL) : NULL;
  if (symbols_data && !gelf_getshdr(symbols, &symbols_header))
    symbols_data = NULL;
  GElf_Rela entry;
  for (gsize i = 0; i < SYMBOL_LIMIT && gelf_getrela(data, i, &entry); i++) {
    guint32 type = GELF_R_TYPE(entry.r_info);
    if (type == relocation_types[which].irelative) {
      char key[32];
      g_snprintf(key, sizeof key, "*%" G_GINT64_MODIFIER "x", (guint64)entry.r_addend);
      add_slot(file, key, entry.r_offset);
      continue;
    }
    if (type != relocation_types[which].jump_slot && type != relocation_types[which].glob_dat &&
        !(type == relocation_types[which].word && entry.r_addend == 0))
      continue;
    GElf_Sym symbol;
    if (!symbols_data || !gelf_getsym(symbols_data, GELF_R_SYM(entry.r_info), &symbol))
      continue;
    int kind = GELF_ST_TYPE(symbol.st_info);
    const char *name = kind == STT_OBJECT || kind == STT_TLS
                           ? NULL
                           : elf_strptr(elf, symbols_header.sh_link, symbol.st_name);
    if (name && *name)
      add_slot(file, name, entry.r_offset);
  }
}

static void
read_version_names(SymbolFile *file, Tables *tables, Elf_Scn *section)
{
  GElf_Shdr header;
  Elf_Data *data = elf_getdata(section, NULL);
  if (!data || !gelf_getshdr(section, &header))
    return;
  gsize at = 0;
  GElf_Verdef definition;
  /* The list's links are the file's word: the bound on rounds keeps a circle from being for ever. */
  for (guint round = 0; round < 4096 && at <= G_MAXINT && gelf_getverdef(data, at, &definition); round++) {
    GElf_Verdaux first;
    gsize first_at = at + definition.vd_aux;
    if (first_at <= G_MAXINT && gelf_getverdaux(data, first_at, &first)) {
      const char *name = elf_strptr(tables->elf, header.sh_link, first.vda_name);
      const char *kept = name ? keep_name(file, name, strnlen(name, NAME_LIMIT)) : NULL;
      if (kept && !(definition.vd_flags & VER_FLG_BASE))
        g_hash_table_insert(tables->version_names, GUINT_TO_POINTER(definition.vd_ndx & 0x7fff),
                            (gpointer)kept);
    }
    if (definition.vd_next == 0)
      break;
    at += definition.vd_next;
  }
}

static void
note_stubs(SymbolFile *file, Elf *elf, const GElf_Shdr *header)
{
  gsize names;
  const char *name = elf_getshdrstrndx(elf, &names) == 0 ? elf_strptr(elf, names, header->sh_name) : NULL;
  if (!name || !g_str_has_prefix(name, ".plt") || file->stubs->len >= 8)
    return;
  ElfSegment stub = {.vaddr = header->sh_addr, .offset = header->sh_offset, .file_size = header->sh_size};
  g_array_append_val(file->stubs, stub);
}

/* The first section of each kind counts, as for the loader and every tool; a file can have 65,000 that
 * overlap. */
static gboolean
read_tables(SymbolFile *file, int fd, gboolean only_symtab)
{
  Tables tables = {.elf = elf_begin(fd, ELF_C_READ, NULL)};
  if (!tables.elf)
    return FALSE;
  tables.version_names = g_hash_table_new(NULL, NULL);
  Elf_Scn *symtab = NULL, *dynsym = NULL, *definitions = NULL;
  GElf_Shdr header;
  guint relocation_sections = 0;
  for (Elf_Scn *section = NULL; (section = elf_nextscn(tables.elf, section));) {
    if (!gelf_getshdr(section, &header))
      continue;
    if (header.sh_type == SHT_PROGBITS && (header.sh_flags & SHF_EXECINSTR) && !only_symtab)
      note_stubs(file, tables.elf, &header);
    else if (header.sh_type == SHT_SYMTAB && !symtab)
      symtab = section;
    else if (header.sh_type == SHT_DYNSYM && !dynsym)
      dynsym = section;
    else if (header.sh_type == SHT_GNU_verdef && !definitions)
      definitions = section;
    else if (header.sh_type == SHT_GNU_versym && !tables.versions)
      tables.versions = elf_getdata(section, NULL);
    else if (header.sh_type == SHT_RELA && (header.sh_flags & SHF_ALLOC) && !only_symtab &&
             relocation_sections++ < 8)
      read_relocations(file, tables.elf, section);
  }
  if (definitions && !only_symtab)
    read_version_names(file, &tables, definitions);
  if (symtab)
    read_symbols(file, &tables, symtab, FALSE);
  if (dynsym && !only_symtab)
    read_symbols(file, &tables, dynsym, TRUE);
  g_hash_table_unref(tables.version_names);
  elf_end(tables.elf);
  return symtab != NULL;
}

/* A debug file that the user has installed for a stripped one (Debian: the -dbgsym package). */
static void
read_debug_file(SymbolFile *file)
{
  const char *id = file->facts->build_id;
  if (!id || strlen(id) < 4)
    return;
  g_autofree char *path = g_strdup_printf("/usr/lib/debug/.build-id/%.2s/%s.debug", id, id + 2);
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  g_autoptr(ElfFacts) facts = elf_facts_read_fd(fd, path, NULL);
  if (facts && g_strcmp0(facts->build_id, id) == 0)
    read_tables(file, fd, TRUE);
}

static int
compare_symbols(gconstpointer a, gconstpointer b)
{
  const Symbol *left = a, *right = b;
  if (left->vaddr != right->vaddr)
    return left->vaddr < right->vaddr ? -1 : 1;
  int names = strcmp(left->name, right->name);
  if (names != 0)
    return names;
  /* The dynamic entry first: it knows its version. */
  return right->dynamic - left->dynamic;
}

static void
drop_duplicates(GArray *functions)
{
  g_array_sort(functions, compare_symbols);
  guint kept = 0;
  for (guint i = 0; i < functions->len; i++) {
    Symbol *symbol = &g_array_index(functions, Symbol, i);
    Symbol *last = kept > 0 ? &g_array_index(functions, Symbol, kept - 1) : NULL;
    if (last && last->vaddr == symbol->vaddr && g_str_equal(last->name, symbol->name) &&
        (!symbol->dynamic || g_strcmp0(last->version, symbol->version) == 0))
      continue;
    g_array_index(functions, Symbol, kept++) = *symbol;
  }
  g_array_set_size(functions, kept);
}

const Symbol *
symbols_by_address(SymbolFile *file, guint64 vaddr, GError **error)
{
  guint64 offset;
  const char *path = file->facts->path;
  if (!is_executable(file->facts, vaddr, &offset)) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "0x%" G_GINT64_MODIFIER
                     "x is not in the code of %s; addresses are the file's, as nm and objdump print them",
                     vaddr, path);
    return NULL;
  }
  for (guint i = 0; i < file->stubs->len; i++) {
    const ElfSegment *stub = &g_array_index(file->stubs, ElfSegment, i);
    if (vaddr >= stub->vaddr && vaddr - stub->vaddr < stub->file_size) {
      doppel_error_set(error, DOPPEL_ERROR_USAGE,
                       "0x%" G_GINT64_MODIFIER
                       "x of %s is a stub that jumps into a library: name the library's function",
                       vaddr, path);
      return NULL;
    }
  }
  const Symbol *enclosing = symbols_enclosing(file, vaddr);
  if (enclosing && enclosing->vaddr != vaddr) {
    g_autofree char *name = symbols_display_name(enclosing);
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "0x%" G_GINT64_MODIFIER
                     "x of %s is inside %s; a block begins where a function does, here 0x%" G_GINT64_MODIFIER
                     "x",
                     vaddr, path, name, enclosing->vaddr);
    return NULL;
  }
  if (enclosing)
    return enclosing;
  Symbol *symbol = g_new0(Symbol, 1);
  g_autofree char *name = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", vaddr);
  *symbol = (Symbol){.name = g_string_chunk_insert(file->strings, name),
                     .vaddr = vaddr,
                     .offset = offset,
                     .kind = SYMBOL_ADDRESS,
                     .binding = SYMBOL_LOCAL};
  g_ptr_array_add(file->addresses, symbol);
  return symbol;
}

SymbolFile *
symbols_open_fd(int fd, const char *path, GError **error)
{
  g_autoptr(ElfFacts) facts = elf_facts_read_fd(fd, path, error);
  if (!facts)
    return NULL;
  SymbolFile *file = g_new0(SymbolFile, 1);
  file->facts = g_steal_pointer(&facts);
  file->functions = g_array_new(FALSE, FALSE, sizeof(Symbol));
  file->addresses = g_ptr_array_new_with_free_func(g_free);
  file->stubs = g_array_new(FALSE, FALSE, sizeof(ElfSegment));
  file->imports = g_hash_table_new(g_str_hash, g_str_equal);
  file->slots = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)g_array_unref);
  file->strings = g_string_chunk_new(16384);
  if (!read_tables(file, fd, FALSE))
    read_debug_file(file);
  drop_duplicates(file->functions);
  file->marked = symbols_marks_resolve(file, fd);
  return file;
}

SymbolFile *
symbols_open(const char *path, GError **error)
{
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    /* It says which of the reasons it is. */
    elf_facts_free(elf_facts_read(path, error));
    return NULL;
  }
  return symbols_open_fd(fd, path, error);
}

void
symbols_close(SymbolFile *file)
{
  if (!file)
    return;
  elf_facts_free(file->facts);
  g_array_unref(file->functions);
  g_ptr_array_unref(file->addresses);
  g_ptr_array_unref(file->marked);
  g_array_unref(file->stubs);
  g_hash_table_unref(file->imports);
  g_hash_table_unref(file->slots);
  g_string_chunk_free(file->strings);
  g_free(file);
}

char *
symbols_display_name(const Symbol *symbol)
{
  gsize stem_length = symbols_stem_length(symbol->name);
  g_autofree char *stem = g_strndup(symbol->name, stem_length);
  g_autofree char *demangled = symbols_demangle(stem);
  return demangled ? g_strconcat(demangled, symbol->name + stem_length, NULL) : g_strdup(symbol->name);
}

char *
symbols_module_name(const SymbolFile *file)
{
  if (file->facts->soname && *file->facts->soname)
    return g_strdup(file->facts->soname);
  return g_path_get_basename(file->facts->path);
}

GArray *
symbols_slots(const SymbolFile *file, const char *name, guint64 resolver)
{
  GArray *slots = g_array_new(FALSE, FALSE, sizeof(guint64));
  char key[32];
  g_snprintf(key, sizeof key, "*%" G_GINT64_MODIFIER "x", resolver);
  const GArray *named = g_hash_table_lookup(file->slots, name);
  const GArray *relative = resolver ? g_hash_table_lookup(file->slots, key) : NULL;
  if (named)
    g_array_append_vals(slots, named->data, named->len);
  if (relative)
    g_array_append_vals(slots, relative->data, relative->len);
  return slots;
}
