#include "wire/unpack.h"

#include <stdlib.h>

static void *
take(void *user, size_t size)
{
  gsize *left = user;
  if (size > *left)
    return NULL;
  *left -= size;
  return malloc(size);
}

static void
give_back(void *user, void *memory)
{
  free(memory);
}

gpointer
wire_unpack_within(const ProtobufCMessageDescriptor *type, const void *data, gsize length, gsize most)
{
  ProtobufCAllocator allocator = {take, give_back, &most};
  return protobuf_c_message_unpack(type, &allocator, length, data);
}

gpointer
wire_unpack(const ProtobufCMessageDescriptor *type, const void *data, gsize length)
{
  return wire_unpack_within(type, data, length, 4096 + 4 * length);
}
