/* What whoever makes or takes messages (protobuf-c) needs. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>
#include <string.h>

/* Bytes that stay the caller's. */
static inline ProtobufCBinaryData
wire_borrow(const void *data, gsize length)
{
  return (ProtobufCBinaryData){.len = length, .data = (guint8 *)data};
}

/* NULL: empty. */
static inline ProtobufCBinaryData
wire_borrow_bytes(GBytes *bytes)
{
  gsize length = 0;
  const void *data = bytes ? g_bytes_get_data(bytes, &length) : NULL;
  return wire_borrow(data, length);
}

static inline GBytes *
wire_pack(const ProtobufCMessage *message)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  guint8 *bytes = g_malloc(MAX(length, 1));
  protobuf_c_message_pack(message, bytes);
  return g_bytes_new_take(bytes, length);
}

/* FALSE: it has another length than that. */
static inline gboolean
wire_take(const ProtobufCBinaryData *from, void *to, gsize length)
{
  if (from->len != length)
    return FALSE;
  memcpy(to, from->data, length);
  return TRUE;
}
