/* Bytes of a fuzzer, taken as choices and values: a decoder that is reached only by messages which make sense
 * is fed with such, made of these. What is asked beyond the end is 0. */
#pragma once

#include <glib.h>
#include <string.h>

typedef struct {
  const guint8 *data;
  gsize left;
} Input;

static inline const guint8 *
input_bytes(Input *input, gsize length, gsize *got)
{
  const guint8 *bytes = input->data;
  *got = MIN(length, input->left);
  input->data += *got;
  input->left -= *got;
  return bytes;
}

static inline guint64
input_number(Input *input, gsize bytes)
{
  guint64 value = 0;
  gsize got;
  const guint8 *from = input_bytes(input, bytes, &got);
  if (got)
    memcpy(&value, from, got);
  return value;
}

static inline guint
input_below(Input *input, guint count)
{
  return (guint)input_number(input, 1) % count;
}

/* As many bytes as the next two say. */
static inline const guint8 *
input_blob(Input *input, gsize *length)
{
  return input_bytes(input, input_number(input, 2), length);
}
