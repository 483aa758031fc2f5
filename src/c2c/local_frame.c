#include "c2c/local_frame.h"

#include "base/error.h"

gboolean
local_frame_length(const guint8 prefix[LOCAL_FRAME_PREFIX], gsize *length, GError **error)
{
  *length = (gsize)prefix[0] << 24 | prefix[1] << 16 | prefix[2] << 8 | prefix[3];
  if (*length > 0 && *length <= LOCAL_MESSAGE_MAX)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a packet of %zu bytes has come through a stream",
                          *length);
}

void
local_frame_put(GByteArray *out, const ProtobufCMessage *message)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  guint at = out->len;
  g_byte_array_set_size(out, at + LOCAL_FRAME_PREFIX + length);
  for (guint i = 0; i < LOCAL_FRAME_PREFIX; i++)
    out->data[at + i] = length >> (24 - 8 * i);
  protobuf_c_message_pack(message, out->data + at + LOCAL_FRAME_PREFIX);
}

/* Until `in` has `wanted` bytes: 1, 0 or -1. */
static int
read_up_to(MuxStream *stream, GByteArray *in, gsize wanted)
{
  while (in->len < wanted) {
    guint had = in->len;
    g_byte_array_set_size(in, wanted);
    gssize got = mux_read(stream, in->data + had, wanted - had);
    g_byte_array_set_size(in, had + MAX(got, 0));
    if (got <= 0)
      return got < 0 ? -1 : 0;
  }
  return 1;
}

int
local_frame_read(MuxStream *stream, GByteArray *in, GError **error)
{
  gsize length;
  int got = read_up_to(stream, in, LOCAL_FRAME_PREFIX);
  if (got <= 0)
    return got;
  if (!local_frame_length(in->data, &length, error))
    return -1;
  return read_up_to(stream, in, LOCAL_FRAME_PREFIX + length);
}

void
local_frame_write(MuxStream *stream, GByteArray *out)
{
  gsize written = out->len > 0 ? mux_write(stream, out->data, out->len) : 0;
  if (written > 0)
    g_byte_array_remove_range(out, 0, written);
}
