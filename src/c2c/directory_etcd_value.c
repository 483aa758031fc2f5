#include "c2c/directory_etcd_value.h"

#include <string.h>

#define VERSION 1

static GByteArray *
key_new(const char *prefix, const char *kind)
{
  GByteArray *key = g_byte_array_new();
  g_byte_array_append(key, (const guint8 *)prefix, strlen(prefix));
  g_byte_array_append(key, (const guint8 *)kind, strlen(kind));
  return key;
}

static void
append_public(GByteArray *bytes, const IdentityPublic *key)
{
  if (key)
    g_byte_array_append(bytes, key->bytes, sizeof key->bytes);
}

static void
append_number(GByteArray *bytes, guint64 number)
{
  guint64 big = GUINT64_TO_BE(number);
  g_byte_array_append(bytes, (const guint8 *)&big, sizeof big);
}

GBytes *
etcd_key_state(const char *prefix)
{
  return g_byte_array_free_to_bytes(key_new(prefix, "/state"));
}

GBytes *
etcd_key_turn(const char *prefix)
{
  return g_byte_array_free_to_bytes(key_new(prefix, "/turn"));
}

GBytes *
etcd_key_user(const char *prefix, const IdentityPublic *origin)
{
  GByteArray *key = key_new(prefix, "/user/");
  append_public(key, origin);
  return g_byte_array_free_to_bytes(key);
}

GBytes *
etcd_key_home(const char *prefix, const IdentityPublic *home, const IdentityPublic *origin)
{
  GByteArray *key = key_new(prefix, "/home/");
  append_public(key, home);
  append_public(key, origin);
  return g_byte_array_free_to_bytes(key);
}

GBytes *
etcd_key_bucket(const char *prefix, const IdentityPublic *home, guint8 bucket)
{
  GByteArray *key = key_new(prefix, "/home/");
  append_public(key, home);
  g_byte_array_append(key, &bucket, 1);
  return g_byte_array_free_to_bytes(key);
}

GBytes *
etcd_key_bucket_end(const char *prefix, const IdentityPublic *home, guint8 bucket)
{
  g_autoptr(GBytes) start = etcd_key_bucket(prefix, home, bucket);
  return etcd_key_end(start);
}

GBytes *
etcd_key_name(const char *prefix, const char *name, const IdentityPublic *home, const IdentityPublic *origin)
{
  GByteArray *key = key_new(prefix, "/name/");
  g_byte_array_append(key, (const guint8 *)name, strlen(name) + 1);
  append_public(key, home);
  append_public(key, origin);
  return g_byte_array_free_to_bytes(key);
}

GBytes *
etcd_key_log(const char *prefix, guint64 number)
{
  GByteArray *key = key_new(prefix, "/log/");
  append_number(key, number);
  return g_byte_array_free_to_bytes(key);
}

GBytes *
etcd_key_writer(const char *prefix, const guint8 id[ETCD_WRITER_ID_LENGTH])
{
  GByteArray *key = key_new(prefix, "/writer/");
  if (id)
    g_byte_array_append(key, id, ETCD_WRITER_ID_LENGTH);
  return g_byte_array_free_to_bytes(key);
}

/* A key begins with the prefix, in which no byte is 255: there is always one to count up. */
GBytes *
etcd_key_end(GBytes *key)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(key, &length);
  GByteArray *end = g_byte_array_new();
  g_byte_array_append(end, data, length);
  while (end->len > 0 && end->data[end->len - 1] == 0xff)
    g_byte_array_set_size(end, end->len - 1);
  g_assert(end->len > 0);
  end->data[end->len - 1]++;
  return g_byte_array_free_to_bytes(end);
}

GBytes *
etcd_key_after(GBytes *key)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(key, &length);
  GByteArray *after = g_byte_array_new();
  g_byte_array_append(after, data, length);
  g_byte_array_append(after, (const guint8 *)"", 1);
  return g_byte_array_free_to_bytes(after);
}

gboolean
etcd_key_origin(GBytes *key, GBytes *start, IdentityPublic *origin)
{
  gsize length, start_length;
  const guint8 *data = g_bytes_get_data(key, &length), *first = g_bytes_get_data(start, &start_length);
  if (length != start_length + sizeof origin->bytes || memcmp(data, first, start_length) != 0)
    return FALSE;
  memcpy(origin->bytes, data + start_length, sizeof origin->bytes);
  return TRUE;
}

static GByteArray *
value_new(void)
{
  GByteArray *value = g_byte_array_new();
  g_byte_array_append(value, &(guint8){VERSION}, 1);
  return value;
}

GBytes *
etcd_value_state(const DirectoryState *state)
{
  GByteArray *value = value_new();
  append_number(value, state->number);
  g_byte_array_append(value, state->chain, sizeof state->chain);
  return g_byte_array_free_to_bytes(value);
}

static void
append_bytes(GByteArray *value, GBytes *bytes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  append_number(value, length);
  if (length > 0)
    g_byte_array_append(value, data, length);
}

GBytes *
etcd_value_user(const DirectoryPut *put)
{
  const Record *record = put->record;
  g_autoptr(GBytes) name = g_bytes_new(record->name, strlen(record->name));
  GByteArray *value = value_new();
  append_number(value, put->number);
  g_byte_array_append(value, record->hash, sizeof record->hash);
  append_public(value, &record->directory);
  append_bytes(value, name);
  append_bytes(value, record->bytes);
  if (put->update)
    append_bytes(value, put->update);
  return g_byte_array_free_to_bytes(value);
}

GBytes *
etcd_value_log(const DirectoryPut *put)
{
  GByteArray *value = value_new();
  g_byte_array_append(value, put->record->hash, sizeof put->record->hash);
  g_byte_array_append(value, put->chain, sizeof put->chain);
  append_public(value, &put->record->origin);
  return g_byte_array_free_to_bytes(value);
}

GBytes *
etcd_value_writer(const EtcdWriterValue *writer)
{
  GByteArray *value = value_new();
  append_number(value, writer->commit);
  append_number(value, (guint64)writer->time);
  return g_byte_array_free_to_bytes(value);
}

/* What is left of a value; `data` is NULL once something was not there. */
typedef struct {
  const guint8 *data;
  gsize left;
} Reader;

static gboolean
read_raw(Reader *reader, void *to, gsize length)
{
  if (!reader->data || length > reader->left) {
    reader->data = NULL;
    return FALSE;
  }
  memcpy(to, reader->data, length);
  reader->data += length;
  reader->left -= length;
  return TRUE;
}

static guint64
read_number(Reader *reader)
{
  guint64 big = 0;
  return read_raw(reader, &big, sizeof big) ? GUINT64_FROM_BE(big) : 0;
}

static GBytes *
read_bytes(Reader *reader)
{
  guint64 length = read_number(reader);
  if (!reader->data || length > reader->left) {
    reader->data = NULL;
    return NULL;
  }
  GBytes *bytes = g_bytes_new(reader->data, length);
  reader->data += length;
  reader->left -= length;
  return bytes;
}

static Reader
reader_new(GBytes *value)
{
  Reader reader;
  guint8 version = 0;
  reader.data = g_bytes_get_data(value, &reader.left);
  if (read_raw(&reader, &version, 1) && version != VERSION)
    reader.data = NULL;
  return reader;
}

gboolean
etcd_value_read_state(GBytes *value, DirectoryState *state)
{
  Reader reader = reader_new(value);
  state->number = read_number(&reader);
  read_raw(&reader, state->chain, sizeof state->chain);
  return reader.data && reader.left == 0;
}

gboolean
etcd_value_read_log(GBytes *value, EtcdLogValue *log)
{
  Reader reader = reader_new(value);
  read_raw(&reader, log->hash, sizeof log->hash);
  read_raw(&reader, log->chain, sizeof log->chain);
  read_raw(&reader, log->origin.bytes, sizeof log->origin.bytes);
  return reader.data && reader.left == 0;
}

gboolean
etcd_value_read_writer(GBytes *value, EtcdWriterValue *writer)
{
  Reader reader = reader_new(value);
  writer->commit = read_number(&reader);
  writer->time = (gint64)read_number(&reader);
  return reader.data && reader.left == 0;
}

void
etcd_user_value_clear(EtcdUserValue *user)
{
  g_clear_pointer(&user->row, directory_row_free);
  g_clear_pointer(&user->name, g_free);
}

gboolean
etcd_value_read_user(GBytes *value, const IdentityPublic *origin, EtcdUserValue *user)
{
  Reader reader = reader_new(value);
  g_autoptr(DirectoryRow) row = g_new0(DirectoryRow, 1);
  row->origin = *origin;
  row->number = read_number(&reader);
  read_raw(&reader, row->hash, sizeof row->hash);
  read_raw(&reader, row->home.bytes, sizeof row->home.bytes);
  g_autoptr(GBytes) name = read_bytes(&reader);
  row->record = read_bytes(&reader);
  if (reader.data && reader.left > 0)
    row->update = read_bytes(&reader);
  if (!reader.data || reader.left > 0 || g_bytes_get_size(row->record) > RECORD_MAX)
    return FALSE;
  gsize length;
  const char *text = g_bytes_get_data(name, &length);
  if (length == 0 || length > RECORD_NAME_MAX || memchr(text, '\0', length))
    return FALSE;
  user->name = g_strndup(text, length);
  user->row = g_steal_pointer(&row);
  return TRUE;
}
