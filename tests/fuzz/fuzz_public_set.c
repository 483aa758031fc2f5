/* What a clone host says that its public base has. What is a set answers for any key, and has what it was
 * made of. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "input.h"
#include "replica/public_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes with the checksum that belongs to them, or the fuzzer would not get far. */
static GBytes *
seal(const uint8_t *data, size_t size)
{
  guint8 *bytes = g_malloc(size + sizeof(guint64));
  memcpy(bytes, data, size);
  guint64 sum = GUINT64_TO_LE(XXH3_64bits(data, size));
  memcpy(bytes + size, &sum, sizeof sum);
  return g_bytes_new_take(bytes, size + sizeof sum);
}

static void
ask(GBytes *packed, const uint8_t *data, size_t size)
{
  g_autoptr(PublicSet) set = public_set_unpack(packed, NULL);
  Input input = {.data = data, .left = size};
  guint64 found = 0;
  for (guint i = 0; set && i < 64; i++)
    found += public_set_has(set, input_number(&input, 8) * 0x9e3779b97f4a7c15u);
  if (set && found > 0 && public_set_count(set) == 0)
    abort();
}

/* The bytes as keys: a set of them has them. */
static void
make(const uint8_t *data, size_t size)
{
  gsize count = size / sizeof(guint64);
  g_autofree guint64 *keys = g_new(guint64, count + 1), *sorted = g_new(guint64, count + 1);
  memcpy(keys, data, count * sizeof *keys);
  memcpy(sorted, keys, count * sizeof *keys);
  g_autoptr(GBytes) packed = public_set_pack(sorted, count);
  g_autoptr(PublicSet) set = public_set_unpack(packed, NULL);
  if (!set)
    abort();
  for (gsize i = 0; i < count; i++)
    if (!public_set_has(set, keys[i]))
      abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GBytes) raw = g_bytes_new(data, size), sealed = seal(data, size);
  ask(raw, data, size);
  ask(sealed, data, size);
  make(data, size);
  return 0;
}
