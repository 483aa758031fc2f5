#include "mirror/symbols_starts.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <gelf.h>
#include <string.h>

#define ENTRY_LIMIT (4u << 20)
#define STUBS_LIMIT 8

/* What an FDE has to know of its CIE. */
typedef struct {
  guint8 encoding; /* DW_EH_PE_*: of the FDE's addresses */
  gboolean sized;  /* augmentation data with its length stands before the instructions */
  gboolean called; /* its code is: the kernel makes no frame for it, and it returns to somebody */
} Common;

typedef struct {
  const ElfFacts *facts;
  guint64 section; /* address of the table */
  const guint8 *data;
  gsize pointer;                 /* bytes of an address */
  GHashTable *commons;           /* offset -> Common */
  guint64 stubs[STUBS_LIMIT][2]; /* begin, end */
  guint stub_count;
  GArray *starts;
} Table;

typedef struct {
  const guint8 *at, *end;
} Bytes;

static gboolean
take(Bytes *bytes, gsize length, guint64 *value)
{
  if (length > 8 || bytes->end - bytes->at < (gssize)length)
    return FALSE;
  guint64 little = 0;
  memcpy(&little, bytes->at, length);
  *value = GUINT64_FROM_LE(little);
  bytes->at += length;
  return TRUE;
}

static gboolean
take_leb(Bytes *bytes, guint64 *value)
{
  *value = 0;
  for (guint shift = 0; bytes->at < bytes->end && shift < 63; shift += 7) {
    guint8 byte = *bytes->at++;
    *value |= (guint64)(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return TRUE;
  }
  return FALSE;
}

/* Bytes of a value of this encoding; 0: of a length that only it tells, or none that is known. */
static gsize
encoded_size(const Table *table, guint8 encoding)
{
  switch (encoding & 0x0f) {
  case DW_EH_PE_absptr:
    return table->pointer;
  case DW_EH_PE_udata2:
  case DW_EH_PE_sdata2:
    return 2;
  case DW_EH_PE_udata4:
  case DW_EH_PE_sdata4:
    return 4;
  case DW_EH_PE_udata8:
  case DW_EH_PE_sdata8:
    return 8;
  default:
    return 0;
  }
}

/* An address: as it stands, or from its own place. No linker writes the others for code. */
static gboolean
take_address(const Table *table, Bytes *bytes, guint8 encoding, guint64 *address)
{
  guint64 place = table->section + (gsize)(bytes->at - table->data);
  gsize size = encoded_size(table, encoding);
  guint8 relative = encoding & 0xf0;
  if (size == 0 || (relative != DW_EH_PE_absptr && relative != DW_EH_PE_pcrel) || !take(bytes, size, address))
    return FALSE;
  if ((encoding & DW_EH_PE_signed) && size < 8 && (*address >> (size * 8 - 1)))
    *address |= G_MAXUINT64 << (size * 8);
  if (relative == DW_EH_PE_pcrel)
    *address += place;
  return TRUE;
}

/* Whether the frames have no return address, as a process's first. */
static gboolean
is_outermost(const Dwarf_CIE *cie)
{
  guint64 number, offset;
  Bytes bytes = {cie->initial_instructions, cie->initial_instructions_end};
  while (bytes.at < bytes.end) {
    guint8 operation = *bytes.at++;
    if (operation == DW_CFA_undefined && take_leb(&bytes, &number)) {
      if (number == cie->return_address_register)
        return TRUE;
    } else if (operation == DW_CFA_def_cfa ? !take_leb(&bytes, &number) || !take_leb(&bytes, &offset)
               : (operation & 0xc0) == DW_CFA_offset ? !take_leb(&bytes, &offset)
                                                     : operation != DW_CFA_nop) {
      return FALSE;
    }
  }
  return FALSE;
}

static void
read_common(Table *table, Dwarf_Off offset, const Dwarf_CIE *cie)
{
  Common common = {.encoding = DW_EH_PE_absptr, .called = !is_outermost(cie)};
  Bytes data = {cie->augmentation_data, NULL};
  data.end = data.at ? data.at + cie->augmentation_data_size : NULL;
  const char *letter = cie->augmentation;
  if (*letter == 'z') {
    common.sized = TRUE;
    letter++;
  }
  guint64 value;
  for (; *letter; letter++) {
    if (*letter == 'S') {
      common.called = FALSE;
    } else if (*letter == 'R' && take(&data, 1, &value)) {
      common.encoding = (guint8)value;
    } else if (*letter == 'P' && take(&data, 1, &value)) {
      gsize size = encoded_size(table, (guint8)value);
      if (size == 0 || !take(&data, size, &value))
        return;
    } else if (*letter == 'L' ? !take(&data, 1, &value) : *letter != 'B' && *letter != 'G') {
      return;
    }
  }
  g_hash_table_insert(table->commons, GSIZE_TO_POINTER((gsize)offset + 1), g_memdup2(&common, sizeof common));
}

/* Whether the rules of the first byte are the CIE's, which are those just after a call. */
static gboolean
is_entry_frame(Bytes instructions)
{
  guint64 value;
  while (instructions.at < instructions.end) {
    guint8 operation = *instructions.at++;
    if (operation == DW_CFA_GNU_args_size && take_leb(&instructions, &value))
      continue;
    if (operation != DW_CFA_nop)
      return (operation & 0xc0) == DW_CFA_advance_loc ||
             (operation >= DW_CFA_set_loc && operation <= DW_CFA_advance_loc4);
  }
  return TRUE;
}

static gboolean
is_stub(const Table *table, guint64 vaddr)
{
  for (guint i = 0; i < table->stub_count; i++)
    if (vaddr >= table->stubs[i][0] && vaddr < table->stubs[i][1])
      return TRUE;
  return FALSE;
}

static void
read_entry(Table *table, const Dwarf_FDE *fde)
{
  const Common *common = g_hash_table_lookup(table->commons, GSIZE_TO_POINTER((gsize)fde->CIE_pointer + 1));
  Bytes bytes = {fde->start, fde->end};
  SymbolsStart start;
  guint64 length;
  if (!common || !take_address(table, &bytes, common->encoding, &start.vaddr) ||
      !take(&bytes, encoded_size(table, common->encoding), &start.size) || start.size == 0)
    return;
  if (common->sized && (!take_leb(&bytes, &length) || length > (gsize)(bytes.end - bytes.at)))
    return;
  bytes.at += common->sized ? length : 0;
  const ElfSegment *segment = elf_facts_segment(table->facts, start.vaddr);
  if (!segment || !(segment->flags & PF_X) ||
      start.size > segment->file_size - (start.vaddr - segment->vaddr))
    return;
  start.begins = common->called && !is_stub(table, start.vaddr) && is_entry_frame(bytes);
  g_array_append_val(table->starts, start);
}

static int
compare_starts(gconstpointer a, gconstpointer b)
{
  const SymbolsStart *left = a, *right = b;
  return left->vaddr != right->vaddr ? (left->vaddr < right->vaddr ? -1 : 1) : 0;
}

static void
drop_duplicates(GArray *starts)
{
  g_array_sort(starts, compare_starts);
  guint kept = 0;
  for (guint i = 0; i < starts->len; i++) {
    SymbolsStart *all = (SymbolsStart *)(gpointer)starts->data;
    if (kept == 0 || all[i].vaddr != all[kept - 1].vaddr)
      all[kept++] = all[i];
  }
  g_array_set_size(starts, kept);
}

static void
read_table(Table *table, Elf *elf, Elf_Scn *section)
{
  GElf_Shdr header;
  Elf_Data *data = elf_rawdata(section, NULL);
  const unsigned char *identity = (const unsigned char *)elf_getident(elf, NULL);
  if (!data || !data->d_buf || !identity || identity[EI_DATA] != ELFDATA2LSB ||
      !gelf_getshdr(section, &header))
    return;
  table->section = header.sh_addr;
  table->data = data->d_buf;
  table->pointer = table->facts->is_64 ? 8 : 4;
  table->commons = g_hash_table_new_full(NULL, NULL, NULL, g_free);
  Dwarf_CFI_Entry entry;
  Dwarf_Off offset = 0, next = 0;
  while (table->starts->len < ENTRY_LIMIT &&
         dwarf_next_cfi(identity, data, true, offset, &next, &entry) == 0 && next > offset) {
    if (dwarf_cfi_cie_p(&entry))
      read_common(table, offset, &entry.cie);
    else
      read_entry(table, &entry.fde);
    offset = next;
  }
  g_hash_table_unref(table->commons);
  drop_duplicates(table->starts);
}

static void
note_stubs(Table *table, const char *name, const GElf_Shdr *header)
{
  if (!g_str_has_prefix(name, ".plt") || table->stub_count == STUBS_LIMIT)
    return;
  table->stubs[table->stub_count][0] = header->sh_addr;
  table->stubs[table->stub_count++][1] = header->sh_addr + header->sh_size;
}

GArray *
symbols_starts_read(int fd, const ElfFacts *facts)
{
  Table table = {.facts = facts, .starts = g_array_new(FALSE, FALSE, sizeof(SymbolsStart))};
  elf_version(EV_CURRENT);
  Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
  gsize names;
  GElf_Shdr header;
  Elf_Scn *found = NULL;
  if (elf && elf_getshdrstrndx(elf, &names) == 0)
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
      const char *name = gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
      if (!name || header.sh_type == SHT_NOBITS)
        continue;
      note_stubs(&table, name, &header);
      if (!found && strcmp(name, ".eh_frame") == 0)
        found = section;
    }
  if (found)
    read_table(&table, elf, found);
  if (elf)
    elf_end(elf);
  return table.starts;
}

const SymbolsStart *
symbols_starts_enclosing(const GArray *starts, guint64 vaddr)
{
  guint low = 0, high = starts->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (g_array_index(starts, SymbolsStart, middle).vaddr <= vaddr)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0)
    return NULL;
  const SymbolsStart *start = &g_array_index(starts, SymbolsStart, low - 1);
  return vaddr - start->vaddr < start->size ? start : NULL;
}
