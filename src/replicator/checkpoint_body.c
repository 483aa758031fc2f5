#include "replicator/checkpoint_body.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"

enum { HEAD = 12, LEVEL = 1, BUFFER = 1 << 20 };
#define ADDRESS_END (1ull << 57)

struct CheckpointWriter {
  int file;
  guint64 bytes;
  XXH3_state_t *hash;
  ZSTD_CCtx *context;
  GByteArray *waiting; /* to be written */
};

/* ---- writing ---- */

CheckpointWriter *
checkpoint_writer_new(int file)
{
  CheckpointWriter *writer = g_new0(CheckpointWriter, 1);
  writer->file = file;
  writer->hash = XXH3_createState();
  writer->context = ZSTD_createCCtx();
  g_assert(writer->hash && writer->context); /* as GLib does for memory */
  XXH3_64bits_reset(writer->hash);
  ZSTD_CCtx_setParameter(writer->context, ZSTD_c_compressionLevel, LEVEL);
  writer->waiting = g_byte_array_sized_new(BUFFER + CHECKPOINT_PIECE);
  return writer;
}

void
checkpoint_writer_free(CheckpointWriter *writer)
{
  XXH3_freeState(writer->hash);
  ZSTD_freeCCtx(writer->context);
  g_byte_array_unref(writer->waiting);
  g_free(writer);
}

static gboolean
flush(CheckpointWriter *writer, GError **error)
{
  gboolean done = io_write_all(writer->file, writer->waiting->data, writer->waiting->len) ||
                  doppel_error_errno(error, "cannot keep a checkpoint");
  g_byte_array_set_size(writer->waiting, 0);
  return done;
}

gboolean
checkpoint_write_record(CheckpointWriter *writer, const guint8 *packed, gsize length, GError **error)
{
  guint8 head[HEAD];
  guint32 size = GUINT32_TO_LE((guint32)length);
  guint64 hash = GUINT64_TO_LE(XXH3_64bits(packed, length));
  memcpy(head, &size, sizeof size);
  memcpy(head + sizeof size, &hash, sizeof hash);
  XXH3_64bits_update(writer->hash, head, sizeof head);
  XXH3_64bits_update(writer->hash, packed, length);
  g_byte_array_append(writer->waiting, head, sizeof head);
  g_byte_array_append(writer->waiting, packed, length);
  writer->bytes += sizeof head + length;
  return writer->waiting->len < BUFFER || flush(writer, error);
}

static gboolean
put(CheckpointWriter *writer, const Doppel__Wire__CheckpointRecord *record, GError **error)
{
  gsize length = doppel__wire__checkpoint_record__get_packed_size(record);
  g_autofree guint8 *packed = g_malloc(MAX(length, 1));
  doppel__wire__checkpoint_record__pack(record, packed);
  return checkpoint_write_record(writer, packed, length, error);
}

static gboolean
is_zero(const guint8 *bytes, gsize length)
{
  return !length || (!*bytes && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* What is compressed lives until the record is packed. */
static ProtobufCBinaryData
compress(CheckpointWriter *writer, const guint8 *bytes, gsize length, guint8 *room, gsize size)
{
  gsize got = ZSTD_compress2(writer->context, room, size, bytes, length);
  g_assert(!ZSTD_isError(got)); /* the room is enough */
  return (ProtobufCBinaryData){got, room};
}

gboolean
checkpoint_write_memory(CheckpointWriter *writer, guint64 address, guint64 length, const guint8 *bytes,
                        GError **error)
{
  gsize size = ZSTD_compressBound(CHECKPOINT_PIECE);
  g_autofree guint8 *room = g_malloc(size);
  for (guint64 at = 0; at < length;) {
    guint64 piece = bytes ? MIN(length - at, CHECKPOINT_PIECE) : length - at;
    Doppel__Wire__CheckpointMemory memory = DOPPEL__WIRE__CHECKPOINT_MEMORY__INIT;
    Doppel__Wire__CheckpointRecord record = DOPPEL__WIRE__CHECKPOINT_RECORD__INIT;
    memory.address = address + at;
    memory.length = piece;
    if (bytes)
      memory.packed = compress(writer, bytes + at, piece, room, size);
    record.kind_case = DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_MEMORY;
    record.memory = &memory;
    if (!put(writer, &record, error))
      return FALSE;
    at += piece;
  }
  return TRUE;
}

gboolean
checkpoint_write_block(CheckpointWriter *writer, guint32 file, guint64 offset, guint64 length,
                       const guint8 *bytes, GError **error)
{
  gsize size = ZSTD_compressBound(CHECKPOINT_PIECE);
  g_autofree guint8 *room = g_malloc(size);
  for (guint64 at = 0; at < length;) {
    guint64 piece = bytes ? MIN(length - at, CHECKPOINT_PIECE) : length - at;
    Doppel__Wire__CheckpointBlock block = DOPPEL__WIRE__CHECKPOINT_BLOCK__INIT;
    Doppel__Wire__CheckpointRecord record = DOPPEL__WIRE__CHECKPOINT_RECORD__INIT;
    block.file = file;
    block.offset = offset + at;
    block.length = piece;
    if (bytes && !is_zero(bytes + at, piece))
      block.packed = compress(writer, bytes + at, piece, room, size);
    record.kind_case = DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_BLOCK;
    record.block = &block;
    if (!put(writer, &record, error))
      return FALSE;
    at += piece;
  }
  return TRUE;
}

gboolean
checkpoint_write_state(CheckpointWriter *writer, const CheckpointState *state, GError **error)
{
  if (doppel__wire__checkpoint_state__get_packed_size(state) > CHECKPOINT_STATE_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the program has more mappings, threads and descriptors than a checkpoint holds");
  Doppel__Wire__CheckpointRecord record = DOPPEL__WIRE__CHECKPOINT_RECORD__INIT;
  record.kind_case = DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_STATE;
  record.state = (CheckpointState *)state;
  return put(writer, &record, error) && flush(writer, error);
}

guint64
checkpoint_writer_bytes(const CheckpointWriter *writer)
{
  return writer->bytes;
}

guint64
checkpoint_writer_hash(const CheckpointWriter *writer)
{
  return XXH3_64bits_digest(writer->hash);
}

/* ---- files that are only read ---- */

static gboolean
hash_content(int file, guint64 size, guint64 *hash)
{
  g_autofree guint8 *room = g_malloc(BUFFER);
  XXH3_state_t *state = XXH3_createState();
  guint64 at = 0;
  ssize_t got = 1;
  XXH3_64bits_reset(state);
  while (at < size && got > 0) { /* a regular file's reading is not interrupted */
    got = pread(file, room, MIN(size - at, BUFFER), (off_t)at);
    if (got > 0)
      XXH3_64bits_update(state, room, (size_t)got);
    at += got > 0 ? (guint64)got : 0;
  }
  *hash = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  return at == size;
}

gboolean
checkpoint_file_know(CheckpointFile *named, int file)
{
  named->hashed = named->size <= CHECKPOINT_HASHED_MAX;
  return !named->hashed || hash_content(file, named->size, &named->hash);
}

static gboolean
is_known_by_content(const CheckpointFile *named)
{
  return named->hashed && named->size <= CHECKPOINT_HASHED_MAX;
}

gboolean
checkpoint_file_fits(const CheckpointFile *named, int file)
{
  struct stat facts;
  guint64 hash;
  return fstat(file, &facts) == 0 && S_ISREG(facts.st_mode) && (guint64)facts.st_size == named->size &&
         (!is_known_by_content(named) || (hash_content(file, named->size, &hash) && hash == named->hash));
}

gboolean
checkpoint_file_is(const CheckpointFile *named, int file)
{
  struct stat facts;
  return checkpoint_file_fits(named, file) &&
         (is_known_by_content(named) ||
          (fstat(file, &facts) == 0 &&
           (gint64)facts.st_mtim.tv_sec * 1000000000 + facts.st_mtim.tv_nsec == named->mtime_ns));
}

/* ---- reading ---- */

void
checkpoint_body_free(CheckpointBody *body)
{
  io_close(&body->file);
  g_array_unref(body->entries);
  g_clear_pointer(&body->state, checkpoint_state_free);
  g_free(body);
}

/* FALSE with errno; EBADMSG for less than that many bytes. */
static gboolean
read_at(int file, guint64 at, guint8 *to, gsize length)
{
  for (gsize done = 0; done < length;) {
    ssize_t got = pread(file, to + done, length - done, (off_t)(at + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0)
      errno = EBADMSG;
    if (got <= 0)
      return FALSE;
    done += got;
  }
  return TRUE;
}

static gboolean
damaged(GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint is damaged, or makes no sense");
}

static gboolean
packed_fits(const ProtobufCBinaryData *packed, guint64 length)
{
  return !packed->len ||
         (length <= CHECKPOINT_PIECE && ZSTD_getFrameContentSize(packed->data, packed->len) == length);
}

/* Each takes memory here, however little of the link. */
static gboolean
add_entry(CheckpointBody *body, const CheckpointEntry *entry)
{
  if (body->entries->len >= CHECKPOINT_ENTRIES_MAX)
    return FALSE;
  g_array_append_vals(body->entries, entry, 1);
  return TRUE;
}

static gboolean
take_memory(CheckpointBody *body, CheckpointEntry *entry, const Doppel__Wire__CheckpointMemory *memory)
{
  entry->memory = TRUE;
  entry->blank = !memory->packed.len;
  entry->start = memory->address;
  entry->length = memory->length;
  return add_entry(body, entry) && memory->length && memory->address >= CHECKPOINT_PAGE &&
         memory->address < ADDRESS_END && memory->length < ADDRESS_END &&
         (memory->address | memory->length) % CHECKPOINT_PAGE == 0 &&
         packed_fits(&memory->packed, memory->length);
}

static gboolean
take_block(CheckpointBody *body, CheckpointEntry *entry, const Doppel__Wire__CheckpointBlock *block)
{
  entry->blank = !block->packed.len;
  entry->file = block->file;
  entry->start = block->offset;
  entry->length = block->length;
  return add_entry(body, entry) && block->length && block->offset <= G_MAXINT64 / 2 &&
         block->length <= G_MAXINT64 / 2 && packed_fits(&block->packed, block->length);
}

static gboolean
take_record(CheckpointBody *body, guint64 at, const guint8 *packed, guint32 length, GError **error)
{
  CheckpointEntry entry = {.at = at, .packed = length};
  Doppel__Wire__CheckpointRecord *record = doppel__wire__checkpoint_record__unpack(NULL, length, packed);
  gboolean good = FALSE;
  switch (record ? record->kind_case : DOPPEL__WIRE__CHECKPOINT_RECORD__KIND__NOT_SET) {
  case DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_MEMORY:
    good = take_memory(body, &entry, record->memory);
    break;
  case DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_BLOCK:
    good = take_block(body, &entry, record->block);
    break;
  case DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_STATE: {
    gsize size = doppel__wire__checkpoint_state__get_packed_size(record->state);
    g_autofree guint8 *state = g_malloc(MAX(size, 1));
    doppel__wire__checkpoint_state__pack(record->state, state);
    body->state = checkpoint_state_unpack(state, size, NULL);
    good = body->state != NULL;
    break;
  }
  default:
    break;
  }
  if (record)
    doppel__wire__checkpoint_record__free_unpacked(record, NULL);
  return good || damaged(error);
}

static gboolean
read_records(CheckpointBody *body, GError **error)
{
  g_autoptr(GByteArray) packed = g_byte_array_new();
  XXH3_state_t *all = XXH3_createState();
  gboolean good = TRUE;
  XXH3_64bits_reset(all);
  for (guint64 at = 0; good && !body->state;) {
    guint8 head[HEAD];
    guint32 length;
    guint64 hash;
    good = read_at(body->file, at, head, sizeof head);
    if (!good)
      break;
    memcpy(&length, head, sizeof length);
    memcpy(&hash, head + sizeof length, sizeof hash);
    length = GUINT32_FROM_LE(length);
    good = length > 0 && length <= CHECKPOINT_STATE_MAX + 64 && length <= body->bytes - at;
    errno = EBADMSG;
    if (!good)
      break;
    g_byte_array_set_size(packed, length);
    good = read_at(body->file, at + HEAD, packed->data, length);
    if (good && XXH3_64bits(packed->data, length) != GUINT64_FROM_LE(hash)) {
      good = FALSE;
      errno = EBADMSG;
    }
    if (!good)
      break;
    XXH3_64bits_update(all, head, sizeof head);
    XXH3_64bits_update(all, packed->data, length);
    if (!take_record(body, at + HEAD, packed->data, length, error)) {
      XXH3_freeState(all);
      return FALSE;
    }
    at += HEAD + length;
    good = !body->state || at == body->bytes;
    errno = EBADMSG;
  }
  body->hash = XXH3_64bits_digest(all);
  XXH3_freeState(all);
  if (good)
    return TRUE;
  return errno == EBADMSG ? damaged(error) : doppel_error_errno(error, "cannot read a checkpoint");
}

CheckpointBody *
checkpoint_body_read(int file, GError **error)
{
  g_autoptr(CheckpointBody) body = g_new0(CheckpointBody, 1);
  body->entries = g_array_new(FALSE, FALSE, sizeof(CheckpointEntry));
  body->file = fcntl(file, F_DUPFD_CLOEXEC, 3);
  off_t end = body->file < 0 ? -1 : lseek(body->file, 0, SEEK_END);
  if (end < 0) {
    doppel_error_errno(error, "cannot read a checkpoint");
    return NULL;
  }
  body->bytes = (guint64)end;
  return read_records(body, error) ? g_steal_pointer(&body) : NULL;
}

guint8 *
checkpoint_body_record(const CheckpointBody *body, const CheckpointEntry *entry, GError **error)
{
  g_autofree guint8 *packed = g_malloc(entry->packed);
  if (read_at(body->file, entry->at, packed, entry->packed))
    return g_steal_pointer(&packed);
  doppel_error_errno(error, "cannot read a checkpoint");
  return NULL;
}

gboolean
checkpoint_body_unpack(const CheckpointBody *body, const CheckpointEntry *entry, guint8 *to, GError **error)
{
  g_autofree guint8 *packed = checkpoint_body_record(body, entry, error);
  if (!packed)
    return FALSE;
  Doppel__Wire__CheckpointRecord *record =
      doppel__wire__checkpoint_record__unpack(NULL, entry->packed, packed);
  const ProtobufCBinaryData *bytes = NULL;
  if (record && record->kind_case == DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_MEMORY)
    bytes = &record->memory->packed;
  if (record && record->kind_case == DOPPEL__WIRE__CHECKPOINT_RECORD__KIND_BLOCK)
    bytes = &record->block->packed;
  gboolean good =
      bytes && bytes->len && ZSTD_decompress(to, entry->length, bytes->data, bytes->len) == entry->length;
  if (record)
    doppel__wire__checkpoint_record__free_unpacked(record, NULL);
  return good || damaged(error);
}
