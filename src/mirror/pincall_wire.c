/* Calls and results as messages. What is unpacked is hostile until it is checked. */
#include "base/error.h"
#include "mirror/pincall_parts.h"
#include "wire/pincall.pb-c.h"

/* Small messages in great number would take many times their length in memory: this is the limit. */
#define UNPACKING_MAX (4 * (gsize)PINCALL_PACKED_MAX)

typedef struct {
  gsize left;
} Budget;

static void *
budget_alloc(void *user, size_t size)
{
  Budget *budget = user;
  if (size > budget->left)
    return NULL;
  budget->left -= size;
  return g_try_malloc(size);
}

static void
budget_free(void *user, void *memory)
{
  g_free(memory);
}

static void
fill_region(Doppel__Wire__PinCallRegion *message, const PinRegion *region)
{
  doppel__wire__pin_call_region__init(message);
  message->arg = region->arg;
  message->part = region->part;
  message->message = region->message;
  message->bytes = (ProtobufCBinaryData){region->in, region->bytes};
  message->room = region->room;
}

GByteArray *
pincall_pack(const PinCall *call)
{
  guint count = call->regions->len;
  g_autofree Doppel__Wire__PinCallRegion *regions = g_new(Doppel__Wire__PinCallRegion, count + 1);
  g_autofree Doppel__Wire__PinCallRegion **pointers = g_new(Doppel__Wire__PinCallRegion *, count + 1);
  for (guint i = 0; i < count; i++) {
    fill_region(&regions[i], pincall_region(call, i));
    pointers[i] = &regions[i];
  }
  Doppel__Wire__PinCall message = DOPPEL__WIRE__PIN_CALL__INIT;
  message.number = call->row->nr;
  message.n_args = SYSCALL_ARGS;
  message.args = (uint64_t *)call->args;
  message.n_regions = count;
  message.regions = pointers;
  message.asked = call->asked;
  GByteArray *packed = g_byte_array_new();
  g_byte_array_set_size(packed, doppel__wire__pin_call__get_packed_size(&message));
  doppel__wire__pin_call__pack(&message, packed->data);
  return packed;
}

static gboolean
read_call(const Doppel__Wire__PinCall *message, PinCall *call)
{
  if (message->n_args != SYSCALL_ARGS || message->n_regions > PINCALL_REGIONS_MAX)
    return FALSE;
  for (guint i = 0; i < SYSCALL_ARGS; i++)
    call->args[i] = message->args[i];
  call->asked = message->asked;
  for (gsize i = 0; i < message->n_regions; i++) {
    const Doppel__Wire__PinCallRegion *from = message->regions[i];
    if (from->arg >= SYSCALL_ARGS || from->part >= PIN_PARTS || from->message >= PIN_SEGMENTS ||
        from->bytes.len > PIN_TOTAL_MAX || from->room > PIN_TOTAL_MAX)
      return FALSE;
    PinRegion *region =
        pincall_add_region(call, from->arg, from->part, from->message, from->bytes.len, from->room);
    if (region->in > 0)
      memcpy(region->bytes, from->bytes.data, region->in);
  }
  return TRUE;
}

PinCall *
pincall_unpack(const guint8 *bytes, gsize length, GError **error)
{
  Budget budget = {UNPACKING_MAX};
  ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
  Doppel__Wire__PinCall *message =
      length <= PINCALL_PACKED_MAX ? doppel__wire__pin_call__unpack(&allocator, length, bytes) : NULL;
  const SyscallRow *row = message ? syscall_row(message->number) : NULL;
  g_autoptr(PinCall) call = row ? pincall_new(row) : NULL;
  gboolean read = call && read_call(message, call);
  if (message)
    doppel__wire__pin_call__free_unpacked(message, &allocator);
  if (!read) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the peer sent a system call that cannot be read");
    return NULL;
  }
  return pincall_check(call, error) ? g_steal_pointer(&call) : NULL;
}

GByteArray *
pinresult_pack(const PinResult *result)
{
  guint count = result->blobs->len;
  g_autofree Doppel__Wire__PinResultBlob *blobs = g_new(Doppel__Wire__PinResultBlob, count + 1);
  g_autofree Doppel__Wire__PinResultBlob **pointers = g_new(Doppel__Wire__PinResultBlob *, count + 1);
  for (guint i = 0; i < count; i++) {
    const PinBlob *blob = &g_array_index(result->blobs, PinBlob, i);
    doppel__wire__pin_result_blob__init(&blobs[i]);
    blobs[i].region = blob->region;
    blobs[i].bytes = (ProtobufCBinaryData){blob->length, blob->bytes};
    pointers[i] = &blobs[i];
  }
  Doppel__Wire__PinResult message = DOPPEL__WIRE__PIN_RESULT__INIT;
  message.value = result->value;
  message.n_blobs = count;
  message.blobs = pointers;
  GByteArray *packed = g_byte_array_new();
  g_byte_array_set_size(packed, doppel__wire__pin_result__get_packed_size(&message));
  doppel__wire__pin_result__pack(&message, packed->data);
  return packed;
}

PinResult *
pinresult_unpack(const PinCall *call, const guint8 *bytes, gsize length, GError **error)
{
  Budget budget = {UNPACKING_MAX};
  ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
  Doppel__Wire__PinResult *message =
      length <= PINCALL_PACKED_MAX ? doppel__wire__pin_result__unpack(&allocator, length, bytes) : NULL;
  if (!message || message->n_blobs > call->regions->len) {
    if (message)
      doppel__wire__pin_result__free_unpacked(message, &allocator);
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the peer sent a result of %s that cannot be read",
                     call->row->name);
    return NULL;
  }
  g_autoptr(PinResult) result = pinresult_new(message->value);
  for (gsize i = 0; i < message->n_blobs; i++)
    pinresult_add(result, message->blobs[i]->region, message->blobs[i]->bytes.data,
                  message->blobs[i]->bytes.len);
  doppel__wire__pin_result__free_unpacked(message, &allocator);
  return pinresult_check(call, result, error) ? g_steal_pointer(&result) : NULL;
}
