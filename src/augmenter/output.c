/* Output to a terminal, pipe or stream socket that the program need not wait for (docs/architecture.md,
 * "Pins"). */
#include <string.h>

#include "augmenter/augmenter.h"
#include "base/clock.h"

enum { OUTPUT_BYTES_MAX = 64 << 10, OUTPUT_AGE_MS = 100 };

void
pin_output_free(PinOutput *output)
{
  g_byte_array_unref(output->bytes);
  g_free(output);
}

/* Only the newest may be added to: what was written to two pins in turn stays in that order. */
void
augmenter_output_add(Augmenter *augmenter, const PinCall *call)
{
  gint32 pin = (gint32)call->args[0];
  PinOutput *last = augmenter->outputs->len ? augmenter->outputs->pdata[augmenter->outputs->len - 1] : NULL;
  if (!last)
    augmenter->output_since_ns = clock_now_ns();
  if (!last || last->pin != pin) {
    last = g_new0(PinOutput, 1);
    last->pin = pin;
    last->bytes = g_byte_array_new();
    g_ptr_array_add(augmenter->outputs, last);
  }
  for (guint i = 0; i < call->regions->len; i++) {
    const PinRegion *region = pincall_region(call, i);
    if (region->part == PIN_PART_WHOLE || region->part == PIN_PART_SEGMENT)
      g_byte_array_append(last->bytes, region->bytes, region->in);
  }
}

gboolean
augmenter_output_flush(Augmenter *augmenter, GError **error)
{
  for (guint i = 0; i < augmenter->outputs->len; i++) {
    const PinOutput *output = augmenter->outputs->pdata[i];
    for (gsize at = 0; at < output->bytes->len; at += OUTPUT_BYTES_MAX) {
      Doppel__Engine__Output message = DOPPEL__ENGINE__OUTPUT__INIT;
      message.pin = output->pin;
      message.bytes.data = output->bytes->data + at;
      message.bytes.len = MIN(OUTPUT_BYTES_MAX, output->bytes->len - at);
      if (!ENGINE_SEND(augmenter->link, OUTPUT, output, &message, error))
        return FALSE;
    }
  }
  g_ptr_array_set_size(augmenter->outputs, 0);
  return TRUE;
}

gboolean
augmenter_output_due(const Augmenter *augmenter, int *timeout_ms)
{
  gsize bytes = 0;
  if (!augmenter->outputs->len)
    return FALSE;
  for (guint i = 0; i < augmenter->outputs->len; i++)
    bytes += ((PinOutput *)augmenter->outputs->pdata[i])->bytes->len;
  gint64 left = OUTPUT_AGE_MS - (clock_now_ns() - augmenter->output_since_ns) / 1000000;
  if (bytes >= OUTPUT_BYTES_MAX || left <= 0)
    return TRUE;
  if (*timeout_ms < 0 || left < *timeout_ms)
    *timeout_ms = (int)left;
  return FALSE;
}

GPtrArray *
augmenter_output_take(Augmenter *augmenter)
{
  GPtrArray *taken = g_steal_pointer(&augmenter->outputs);
  augmenter->outputs = g_ptr_array_new_with_free_func((GDestroyNotify)pin_output_free);
  return taken;
}
