#include "mirror/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

enum { MAPS_BYTES_MAX = 16 << 20, PAGE = 4096 };

MirrorLayout *
mirror_layout_new(void)
{
  MirrorLayout *layout = g_new0(MirrorLayout, 1);
  layout->mappings = g_array_new(FALSE, FALSE, sizeof(MirrorMapping));
  layout->areas = g_array_new(FALSE, FALSE, sizeof(MirrorMapping));
  return layout;
}

void
mirror_layout_free(MirrorLayout *layout)
{
  if (!layout)
    return;
  g_array_unref(layout->mappings);
  g_array_unref(layout->areas);
  g_clear_pointer(&layout->text, g_byte_array_unref);
  g_clear_pointer(&layout->packed, g_bytes_unref);
  g_free(layout);
}

gboolean
mirror_mapping_alike(const MirrorMapping *a, const MirrorMapping *b)
{
  return a->prot == b->prot && a->kind == b->kind && a->path == b->path;
}

/* Only what continues what stands before it in the file is the same mapping. */
static gboolean
joins(const MirrorMapping *before, const MirrorMapping *after)
{
  if (before->end != after->start || !mirror_mapping_alike(before, after))
    return FALSE;
  return !before->path || after->offset == before->offset + (before->end - before->start);
}

static void
append(MirrorLayout *layout, const MirrorMapping *mapping)
{
  GArray *list = layout->mappings;
  MirrorMapping *last = list->len ? &g_array_index(list, MirrorMapping, list->len - 1) : NULL;
  if (last && joins(last, mapping))
    last->end = mapping->end;
  else
    g_array_append_val(list, *mapping);
}

static guint64
read_hex(const char **at)
{
  guint64 value = 0;
  for (;; (*at)++) {
    char c = **at;
    guint digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
    if (digit == 16)
      return value;
    value = value << 4 | digit;
  }
}

static gboolean
is_pseudo(const char *path)
{
  static const char *const prefixes[] = {
      "/dev/", "/proc/", "/sys/", "/memfd:", "/SYSV", "anon_inode:", "socket:"};
  for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++)
    if (g_str_has_prefix(path, prefixes[i]))
      return TRUE;
  return FALSE;
}

static MirrorMapKind
classify(const char *path, gboolean shared, guint32 prot)
{
  gboolean deleted = g_str_has_suffix(path, " (deleted)");
  if (!*path || *path == '[') {
    if (strcmp(path, "[stack]") == 0)
      return MIRROR_MAP_STACK;
    return shared ? MIRROR_MAP_SHARED : MIRROR_MAP_ANONYMOUS; /* [heap], [anon:name] */
  }
  if (shared && strcmp(path, "/dev/zero (deleted)") == 0)
    return MIRROR_MAP_SHARED;
  if (!shared)
    return deleted || is_pseudo(path) || *path != '/' ? MIRROR_MAP_DETACHED : MIRROR_MAP_FILE;
  if (deleted || is_pseudo(path) || *path != '/')
    return MIRROR_MAP_FOREIGN;
  return prot & PROT_WRITE ? MIRROR_MAP_SHARED_FILE : MIRROR_MAP_FILE;
}

/* The kernel writes a newline in a name as \012; nothing else is escaped. */
static const char *
intern_path(const char *at, const char *end)
{
  g_autofree char *path = g_strndup(at, end - at);
  for (char *mark = path; (mark = strstr(mark, "\\012")); mark++) {
    *mark = '\n';
    memmove(mark + 1, mark + 4, strlen(mark + 4) + 1);
  }
  return g_intern_string(path);
}

/* One line of maps; returns where the next begins. */
static const char *
read_line(const char *at, MirrorMapping *mapping, const char **name, gboolean *shared)
{
  *mapping = (MirrorMapping){.start = read_hex(&at)};
  at += *at == '-';
  mapping->end = read_hex(&at);
  at += *at == ' ';
  for (; *at && *at != ' '; at++) {
    mapping->prot |= *at == 'r' ? PROT_READ : *at == 'w' ? PROT_WRITE : *at == 'x' ? PROT_EXEC : 0;
    *shared = *at == 's';
  }
  at += *at == ' ';
  mapping->offset = read_hex(&at);
  for (int field = 0; field < 2; field++) { /* device, inode */
    at += *at == ' ';
    at += strcspn(at, " \n");
  }
  at += strspn(at, " ");
  const char *end = strchrnul(at, '\n');
  *name = end == at ? "" : intern_path(at, end);
  return *end ? end + 1 : end;
}

/* The kernel hands out a page at a time and begins anew at offset 0. */
static GByteArray *
read_text(MirrorProcess *process, GError **error)
{
  g_autoptr(GByteArray) text = g_byte_array_sized_new(4 * PAGE);
  guint have = 0;
  for (;;) {
    if (have > MAPS_BYTES_MAX) {
      errno = EFBIG;
      break;
    }
    g_byte_array_set_size(text, have + PAGE);
    ssize_t got = pread(process->maps, text->data + have, PAGE, have);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      break;
    if (got == 0 && have == 0)
      errno = ESRCH;
    if (got == 0) {
      g_byte_array_set_size(text, have + 1);
      text->data[have] = 0;
      if (have == 0)
        break;
      return g_steal_pointer(&text);
    }
    have += got;
  }
  doppel_error_errno(error, "reading the mappings of process %d", process->pid);
  return NULL;
}

static MirrorLayout *
parse(const MirrorProcess *process, GByteArray *text)
{
  MirrorLayout *layout = mirror_layout_new();
  layout->text = text;
  for (const char *at = (const char *)text->data; *at;) {
    MirrorMapping mapping;
    const char *name;
    gboolean shared = FALSE;
    at = read_line(at, &mapping, &name, &shared);
    if (strcmp(name, "[vsyscall]") != 0)
      layout->bytes += mapping.end - mapping.start;
    if (strcmp(name, "[vdso]") == 0) {
      layout->vdso = mapping.start;
      layout->vdso_end = mapping.end;
    }
    if (g_str_has_prefix(name, "[v") || strcmp(name, "[uprobes]") == 0)
      continue;
    if (process->scratch && mapping.start >= process->scratch &&
        mapping.end <= process->scratch + MIRROR_SCRATCH_SIZE)
      continue;
    mapping.kind = classify(name, shared, mapping.prot);
    if (mapping.kind == MIRROR_MAP_FILE || mapping.kind == MIRROR_MAP_SHARED_FILE ||
        mapping.kind == MIRROR_MAP_FOREIGN)
      mapping.path = name;
    else
      mapping.offset = 0;
    g_array_append_val(layout->areas, mapping);
    if (mapping.kind == MIRROR_MAP_DETACHED)
      mapping.kind = MIRROR_MAP_ANONYMOUS;
    append(layout, &mapping);
  }
  return layout;
}

MirrorLayout *
mirror_layout_read(MirrorProcess *process, GError **error)
{
  GByteArray *text = read_text(process, error);
  return text ? parse(process, text) : NULL;
}

gboolean
mirror_layout_renew(MirrorProcess *process, MirrorLayout **layout, GError **error)
{
  GByteArray *text = read_text(process, error), *former = *layout ? (*layout)->text : NULL;
  if (!text)
    return FALSE;
  if (former && former->len == text->len && memcmp(former->data, text->data, text->len) == 0) {
    g_byte_array_unref(text);
    return TRUE;
  }
  mirror_layout_free(*layout);
  *layout = parse(process, text);
  return TRUE;
}

gboolean
mirror_layout_holds(MirrorProcess *process, const MirrorLayout *layout)
{
  char text[128];
  ssize_t got = layout ? pread(process->sizes, text, sizeof text - 1, 0) : -1;
  if (got <= 0)
    return FALSE;
  text[got] = '\0';
  return strtoull(text, NULL, 10) * sysconf(_SC_PAGESIZE) == layout->bytes;
}

const MirrorMapping *
mirror_layout_find(const MirrorLayout *layout, guint64 address)
{
  guint low = 0, high = layout->mappings->len;
  while (low < high) {
    guint middle = (low + high) / 2;
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, middle);
    if (address < mapping->start)
      high = middle;
    else if (address >= mapping->end)
      low = middle + 1;
    else
      return mapping;
  }
  return NULL;
}

/* ---- steps ---- */

static void
step(GArray *steps, MirrorStepKind kind, const MirrorMapping *mapping, guint64 start, guint64 end)
{
  MirrorStep new_step = {kind, *mapping};
  new_step.mapping.start = start;
  new_step.mapping.end = end;
  if (mapping->path)
    new_step.mapping.offset = mapping->offset + (start - mapping->start);
  g_array_append_val(steps, new_step);
}

static guint64
file_offset_at(const MirrorMapping *mapping, guint64 address)
{
  return mapping->path ? mapping->offset + (address - mapping->start) : 0;
}

/* Which part of its memory a process calls its stack depends on what it did to it. */
static gboolean
same_kind(const MirrorMapping *a, const MirrorMapping *b)
{
  gboolean plain = a->kind == MIRROR_MAP_ANONYMOUS || a->kind == MIRROR_MAP_STACK;
  gboolean plain_too = b->kind == MIRROR_MAP_ANONYMOUS || b->kind == MIRROR_MAP_STACK;
  return a->kind == b->kind || (plain && plain_too);
}

/* A stretch of addresses in which neither list changes. */
static void
stretch(GArray *unmaps, GArray *maps, const MirrorMapping *from, const MirrorMapping *to, guint64 start,
        guint64 end)
{
  if (!to) {
    if (from)
      step(unmaps, MIRROR_STEP_UNMAP, from, start, end);
    return;
  }
  if (from && same_kind(from, to) && from->path == to->path &&
      file_offset_at(from, start) == file_offset_at(to, start)) {
    if (from->prot != to->prot)
      step(maps, MIRROR_STEP_PROTECT, to, start, end);
    return;
  }
  step(maps, !from && to->kind == MIRROR_MAP_STACK ? MIRROR_STEP_GROW_STACK : MIRROR_STEP_MAP, to, start,
       end);
}

GArray *
mirror_layout_steps(const MirrorLayout *from, const MirrorLayout *to)
{
  GArray *unmaps = g_array_new(FALSE, FALSE, sizeof(MirrorStep));
  g_autoptr(GArray) maps = g_array_new(FALSE, FALSE, sizeof(MirrorStep));
  guint i = 0, k = 0;
  guint64 at = 0;
  for (;;) {
    const MirrorMapping *a =
        i < from->mappings->len ? &g_array_index(from->mappings, MirrorMapping, i) : NULL;
    const MirrorMapping *b = k < to->mappings->len ? &g_array_index(to->mappings, MirrorMapping, k) : NULL;
    if (!a && !b)
      break;
    guint64 a_start = a ? MAX(a->start, at) : G_MAXUINT64, b_start = b ? MAX(b->start, at) : G_MAXUINT64;
    guint64 start = MIN(a_start, b_start), end = G_MAXUINT64;
    gboolean in_a = a && a_start == start, in_b = b && b_start == start;
    if (a)
      end = MIN(end, in_a ? a->end : a_start);
    if (b)
      end = MIN(end, in_b ? b->end : b_start);
    stretch(unmaps, maps, in_a ? a : NULL, in_b ? b : NULL, start, end);
    at = end;
    if (a && at >= a->end)
      i++;
    if (b && at >= b->end)
      k++;
  }
  if (maps->len)
    g_array_append_vals(unmaps, maps->data, maps->len);
  return unmaps;
}

/* ---- text ---- */

GBytes *
mirror_layout_pack(MirrorLayout *layout)
{
  if (layout->packed)
    return layout->packed;
  GByteArray *into = g_byte_array_new();
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    char head[96];
    int length = snprintf(head, sizeof head,
                          "%" G_GINT64_MODIFIER "x %" G_GINT64_MODIFIER "x %x %x %" G_GINT64_MODIFIER "x ",
                          mapping->start / PAGE, (mapping->end - mapping->start) / PAGE, mapping->prot,
                          mapping->kind, mapping->offset / PAGE);
    g_byte_array_append(into, (const guint8 *)head, length);
    const char *path = mapping->path ? mapping->path : "";
    g_byte_array_append(into, (const guint8 *)path, strlen(path) + 1);
  }
  return layout->packed = g_byte_array_free_to_bytes(into);
}

static gboolean
parse_entry(const char *entry, guint64 least, MirrorMapping *mapping)
{
  guint64 field[5];
  for (int i = 0; i < 5; i++) {
    const char *start = entry;
    field[i] = read_hex(&entry);
    if (entry == start || entry - start > 13 || *entry++ != ' ')
      return FALSE;
  }
  *mapping = (MirrorMapping){.start = field[0] * PAGE,
                             .end = (field[0] + field[1]) * PAGE,
                             .prot = field[2],
                             .kind = field[3],
                             .offset = field[4] * PAGE};
  gboolean named = mapping->kind == MIRROR_MAP_FILE || mapping->kind == MIRROR_MAP_SHARED_FILE;
  if (named != (*entry == '/') || (!named && *entry) || strlen(entry) >= PATH_MAX)
    return FALSE;
  mapping->path = named ? g_intern_string(entry) : NULL;
  return field[1] > 0 && mapping->start >= least && mapping->end > mapping->start &&
         mapping->end < 1ull << 57 && mapping->prot <= 7 && mapping->kind < MIRROR_MAP_FOREIGN &&
         mapping->kind != MIRROR_MAP_DETACHED;
}

MirrorLayout *
mirror_layout_unpack(const guint8 *bytes, gsize length, GError **error)
{
  const char *text = (const char *)bytes;
  g_autoptr(MirrorLayout) layout = mirror_layout_new();
  guint64 least = PAGE;
  for (gsize at = 0; at < length;) {
    const char *end = memchr(text + at, 0, length - at);
    MirrorMapping mapping;
    if (!end || layout->mappings->len > 1 << 20 || !parse_entry(text + at, least, &mapping)) {
      doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a list of mappings that no process has");
      return NULL;
    }
    append(layout, &mapping);
    least = mapping.end;
    at = end + 1 - text;
  }
  return g_steal_pointer(&layout);
}
