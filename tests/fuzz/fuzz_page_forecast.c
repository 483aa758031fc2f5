/* The file of a forecast, once its checksum is right: what is taken must be the same when it is packed, and
 * do. */
#include "input.h"
#include "mirror/page_forecast_parts.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

static gboolean
packs_alike(const PageForecast *forecast)
{
  g_autoptr(GByteArray) packed = g_byte_array_new();
  g_autoptr(GByteArray) again = g_byte_array_new();
  g_autoptr(PageForecast) other = page_forecast_new();
  page_forecast_pack(forecast, packed);
  if (!page_forecast_unpack(other, packed->data, packed->len))
    return FALSE;
  page_forecast_pack(other, again);
  return packed->len == again->len && memcmp(packed->data, again->data, packed->len) == 0;
}

/* Blocks as the rest of the input says: asked and reported at any addresses. */
static void
use(PageForecast *forecast, Input *input)
{
  while (input->left) {
    guint64 address = input_number(input, 3) << 12,
            pages = input_below(input, 32) ? input_below(input, 64) : G_MAXUINT64;
    switch (input_below(input, 5)) {
    case 0:
      page_forecast_touched(forecast, address, pages);
      break;
    case 1:
      page_forecast_untouched(forecast, address, pages);
      break;
    case 2:
      page_forecast_block_end(forecast);
      break;
    case 3:
      page_forecast_block_cancel(forecast);
      break;
    default:
      if (page_forecast_wants(forecast, address) != page_forecast_wants(forecast, address + 4095))
        __builtin_trap();
    }
  }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  g_autoptr(PageForecast) forecast = page_forecast_new();
  gsize packed;
  const guint8 *bytes = input_blob(&input, &packed);
  if (!page_forecast_unpack(forecast, bytes, packed))
    return 0;
  if (!packs_alike(forecast))
    __builtin_trap();
  use(forecast, &input);
  page_forecast_block_cancel(forecast);
  if (page_forecast_count(forecast) > PAGE_FORECAST_PAGES || !packs_alike(forecast))
    __builtin_trap();
  return 0;
}
