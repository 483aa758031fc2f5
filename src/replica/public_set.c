#include "replica/public_set.h"

#include <string.h>
#include <xxhash.h>

#include "base/error.h"

/* Packed: the number of keys (8 bytes, little-endian), the differences as bits, the highest bit of a byte
 * first, and XXH3-64 of all of that (8 bytes, little-endian). A difference is its part above 24 bits as so
 * many ones, a zero, and the 24 bits. */
#define REMAINDER 24
#define HEAD      sizeof(guint64)
#define TAIL      sizeof(guint64)
#define EVERY     64 /* values, from one place where reading can begin to the next */

typedef struct {
  guint64 value; /* of the one before */
  gsize bit;     /* at which the next one begins */
} Place;

struct PublicSet {
  GBytes *packed;
  guint64 count;
  GArray *places; /* of Place, one for each EVERY values */
};

static guint64
scale(guint64 key, guint64 count)
{
  return (guint64)((unsigned __int128)key * (count << REMAINDER) >> 64);
}

static int
compare_keys(gconstpointer a, gconstpointer b)
{
  guint64 one = *(const guint64 *)a, other = *(const guint64 *)b;
  return one < other ? -1 : one > other;
}

/* ---- packing ---- */

typedef struct {
  GByteArray *bytes;
  guint8 filling;
  guint bits; /* in it */
} Writer;

static void
put_bit(Writer *writer, gboolean bit)
{
  writer->filling = (guint8)(writer->filling << 1 | bit);
  if (++writer->bits < 8)
    return;
  g_byte_array_append(writer->bytes, &writer->filling, 1);
  writer->bits = 0;
}

static void
put_difference(Writer *writer, guint64 difference)
{
  for (guint64 ones = difference >> REMAINDER; ones > 0; ones--)
    put_bit(writer, TRUE);
  put_bit(writer, FALSE);
  for (guint bit = REMAINDER; bit-- > 0;)
    put_bit(writer, difference >> bit & 1);
}

static gsize
sort_keys(guint64 *keys, gsize count)
{
  gsize different = 0;
  if (count > 0) /* without any, `keys` may be NULL */
    qsort(keys, count, sizeof *keys, compare_keys);
  for (gsize i = 0; i < count; i++)
    if (i == 0 || keys[i] != keys[i - 1])
      keys[different++] = keys[i];
  return different;
}

static guint64
checksum(const guint8 *bytes, gsize length)
{
  return GUINT64_TO_LE(XXH3_64bits(bytes, length));
}

GBytes *
public_set_pack(guint64 *keys, gsize count)
{
  count = sort_keys(keys, MIN(count, PUBLIC_SET_MAX));
  guint64 head = GUINT64_TO_LE(count), last = 0;
  Writer writer = {.bytes = g_byte_array_new()};
  g_byte_array_append(writer.bytes, (const guint8 *)&head, sizeof head);
  for (gsize i = 0; i < count; i++) {
    guint64 value = scale(keys[i], count);
    put_difference(&writer, value - last);
    last = value;
  }
  while (writer.bits > 0)
    put_bit(&writer, FALSE);
  guint64 tail = checksum(writer.bytes->data, writer.bytes->len);
  g_byte_array_append(writer.bytes, (const guint8 *)&tail, sizeof tail);
  return g_byte_array_free_to_bytes(writer.bytes);
}

/* ---- unpacking ---- */

typedef struct {
  const guint8 *bytes; /* of the bits */
  gsize bit, bits;
} Reader;

static Reader
reader_of(const PublicSet *set)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(set->packed, &length);
  return (Reader){.bytes = bytes + HEAD, .bits = (length - HEAD - TAIL) * 8};
}

/* -1 at the end. */
static int
take_bit(Reader *reader)
{
  if (reader->bit == reader->bits)
    return -1;
  int bit = reader->bytes[reader->bit / 8] >> (7 - reader->bit % 8) & 1;
  reader->bit++;
  return bit;
}

static gboolean
take_difference(Reader *reader, guint64 *difference)
{
  guint64 ones = 0, rest = 0;
  int bit;
  while ((bit = take_bit(reader)) > 0)
    ones++;
  for (guint i = 0; i < REMAINDER && bit >= 0; i++) {
    bit = take_bit(reader);
    rest = rest << 1 | (guint64)(bit > 0);
  }
  *difference = ones << REMAINDER | rest;
  return bit >= 0;
}

/* All values are there and in their range, and nothing follows them. */
static gboolean
index_values(PublicSet *set)
{
  Reader reader = reader_of(set);
  guint64 value = 0, difference;
  for (guint64 i = 0; i < set->count; i++) {
    Place place = {value, reader.bit};
    if (i % EVERY == 0)
      g_array_append_val(set->places, place);
    if (!take_difference(&reader, &difference) || difference >= (set->count << REMAINDER) - value)
      return FALSE;
    value += difference;
  }
  return reader.bits - reader.bit < 8;
}

PublicSet *
public_set_unpack(GBytes *packed, GError **error)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(packed, &length);
  g_autoptr(PublicSet) set = g_new0(PublicSet, 1);
  guint64 count = 0, tail = 0;
  set->packed = g_bytes_ref(packed);
  set->places = g_array_new(FALSE, FALSE, sizeof(Place));
  if (length >= HEAD + TAIL && length <= PUBLIC_SET_PACKED_MAX) {
    memcpy(&count, bytes, sizeof count);
    memcpy(&tail, bytes + length - TAIL, sizeof tail);
    set->count = GUINT64_FROM_LE(count);
    if (set->count <= PUBLIC_SET_MAX && tail == checksum(bytes, length - TAIL) && index_values(set))
      return g_steal_pointer(&set);
  }
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the list of what the host's public base has is damaged");
  return NULL;
}

void
public_set_free(PublicSet *set)
{
  if (!set)
    return;
  g_bytes_unref(set->packed);
  g_array_unref(set->places);
  g_free(set);
}

/* The last place whose values are all less than `value`, or the first one. */
static guint
find_place(const PublicSet *set, guint64 value)
{
  guint low = 0, high = set->places->len;
  while (high - low > 1) {
    guint middle = low + (high - low) / 2;
    if (g_array_index(set->places, Place, middle).value < value)
      low = middle;
    else
      high = middle;
  }
  return low;
}

gboolean
public_set_has(const PublicSet *set, guint64 key)
{
  if (set->count == 0)
    return FALSE;
  guint64 wanted = scale(key, set->count), difference;
  guint at = find_place(set, wanted);
  Reader reader = reader_of(set);
  guint64 value = g_array_index(set->places, Place, at).value;
  reader.bit = g_array_index(set->places, Place, at).bit;
  for (guint64 i = (guint64)at * EVERY; i < set->count; i++) {
    if (!take_difference(&reader, &difference))
      return FALSE;
    value += difference;
    if (value >= wanted)
      return value == wanted;
  }
  return FALSE;
}

guint64
public_set_count(const PublicSet *set)
{
  return set->count;
}
