#include "profile/calls.h"

#include <string.h>

#include "base/error.h"
#include "profile/calls_private.h"

#define CONTEXT_LIMIT (1u << 18)
#define PART_LIMIT    (1u << 19)
#define CALL_LIMIT    (1u << 20)
#define PLACE_LIMIT   (2u << 20) /* functions of all files; the largest programs have about a million */

static void
free_object(gpointer data)
{
  CallsObject *object = data;
  profile_file_free(object->file);
  g_free(object->path);
  g_free(object);
}

static void
free_context(gpointer data)
{
  ProfileContext *context = data;
  g_clear_pointer(&context->parts, g_ptr_array_unref);
  g_free(context);
}

static void
free_part(gpointer data)
{
  CallsPart *part = data;
  g_clear_pointer(&part->jumps, g_ptr_array_unref);
  g_clear_pointer(&part->calls, g_ptr_array_unref);
  g_free(part);
}

static guint
mix(gconstpointer first, gconstpointer second)
{
  guint64 mixed = GPOINTER_TO_SIZE(first) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) ^ GPOINTER_TO_SIZE(second);
  return (guint)((mixed * G_GUINT64_CONSTANT(0xff51afd7ed558ccd)) >> 32);
}

static guint
hash_context(gconstpointer data)
{
  const ProfileContext *context = data;
  return mix(context->object, context->name) + context->nested;
}

static gboolean
equal_contexts(gconstpointer a, gconstpointer b)
{
  const ProfileContext *left = a, *right = b;
  return left->object == right->object && left->nested == right->nested && left->name == right->name;
}

static guint
hash_part(gconstpointer data)
{
  const CallsPart *part = data;
  return mix(part->context, part->place);
}

static gboolean
equal_parts(gconstpointer a, gconstpointer b)
{
  const CallsPart *left = a, *right = b;
  return left->context == right->context && left->place == right->place;
}

static gconstpointer
callee_of(const CallsCall *call)
{
  return call->place ? (gconstpointer)call->place : call->callee;
}

static guint
hash_call(gconstpointer data)
{
  const CallsCall *call = data;
  return mix(call->from, callee_of(call)) + call->nested;
}

static gboolean
equal_calls(gconstpointer a, gconstpointer b)
{
  const CallsCall *left = a, *right = b;
  return left->from == right->from && callee_of(left) == callee_of(right) && left->nested == right->nested;
}

static guint
hash_jump(gconstpointer data)
{
  const CallsJump *jump = data;
  return mix(jump->from, jump->to);
}

static gboolean
equal_jumps(gconstpointer a, gconstpointer b)
{
  const CallsJump *left = a, *right = b;
  return left->from == right->from && left->to == right->to;
}

static CallsTable
table_new(GHashFunc hash, GEqualFunc equal, GDestroyNotify free_item)
{
  return (CallsTable){g_hash_table_new(hash, equal), g_ptr_array_new_with_free_func(free_item)};
}

static void
table_free(CallsTable *table)
{
  g_hash_table_unref(table->set);
  g_ptr_array_unref(table->all);
}

/* A copy of `key` that becomes the table's. NULL with an error where it is full. */
static gpointer
table_add(CallsTable *table, gconstpointer key, gsize size, guint limit, const char *what, GError **error)
{
  if (table->all->len >= limit) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "more than %u %s", limit, what);
    return NULL;
  }
  gpointer item = g_memdup2(key, size);
  g_ptr_array_add(table->all, item);
  g_hash_table_add(table->set, item);
  return item;
}

ProfileCalls *
profile_calls_new(ProfileFileReader reader)
{
  ProfileCalls *calls = g_new0(ProfileCalls, 1);
  calls->reader = reader;
  calls->objects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_object);
  calls->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  calls->contexts = table_new(hash_context, equal_contexts, free_context);
  calls->parts = table_new(hash_part, equal_parts, free_part);
  calls->calls = table_new(hash_call, equal_calls, g_free);
  calls->jumps = table_new(hash_jump, equal_jumps, g_free);
  return calls;
}

void
profile_calls_free(ProfileCalls *calls)
{
  if (!calls)
    return;
  table_free(&calls->jumps);
  table_free(&calls->calls);
  table_free(&calls->parts);
  table_free(&calls->contexts);
  g_hash_table_unref(calls->names);
  g_hash_table_unref(calls->objects);
  g_free(calls);
}

static CallsObject *
object_of(ProfileCalls *calls, const char *path, GError **error)
{
  CallsObject *object = g_hash_table_lookup(calls->objects, path);
  if (object)
    return object;
  if (g_hash_table_size(calls->objects) >= PROFILE_OBJECT_LIMIT) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "more than %u files", PROFILE_OBJECT_LIMIT);
    return NULL;
  }
  g_autoptr(GError) why = NULL;
  object = g_new0(CallsObject, 1);
  object->path = g_strdup(path);
  /* "???" is code of no file, and "[vdso]" the kernel's. */
  object->file = g_path_is_absolute(path) ? calls->reader(path, &why) : NULL;
  if (why)
    g_debug("its functions count as their callers': %s", why->message);
  g_hash_table_insert(calls->objects, object->path, object);
  /* The paths are the sender's: one large file has any number of them. */
  calls->places += object->file ? object->file->places->len : 0;
  if (calls->places <= PLACE_LIMIT)
    return object;
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "its files have more than %u functions", PLACE_LIMIT);
  return NULL;
}

/* Length of the name without its recursion level, "'2" and more. */
static gsize
stem_length(const char *name)
{
  const char *mark = strrchr(name, '\'');
  gboolean level = mark && mark > name && mark[1] && strspn(mark + 1, "0123456789") == strlen(mark + 1);
  return level ? (gsize)(mark - name) : strlen(name);
}

/* The name without its level, kept once however many files have a function of it. */
static const char *
stem_of(ProfileCalls *calls, const char *name, gsize length)
{
  g_autofree char *stem = g_strndup(name, length);
  const char *known;
  if (g_hash_table_lookup_extended(calls->names, stem, (gpointer *)&known, NULL))
    return known;
  known = stem;
  g_hash_table_add(calls->names, g_steal_pointer(&stem));
  return known;
}

ProfileContext *
profile_calls_context(ProfileCalls *calls, const char *path, const char *name, GError **error)
{
  gsize length = stem_length(name);
  ProfileContext key = {.object = object_of(calls, path, error),
                        .name = stem_of(calls, name, length),
                        .nested = name[length] != '\0'};
  if (!key.object)
    return NULL;
  ProfileContext *context = g_hash_table_lookup(calls->contexts.set, &key);
  if (!context)
    context = table_add(&calls->contexts, &key, sizeof key, CONTEXT_LIMIT, "functions", error);
  if (context && !context->parts)
    context->parts = g_ptr_array_new();
  return context;
}

const ProfilePlace *
calls_find(const CallsObject *object, guint64 vaddr)
{
  return object->file ? profile_file_find(object->file, vaddr) : NULL;
}

static CallsPart *
part_of(ProfileCalls *calls, ProfileContext *context, const ProfilePlace *place, GError **error)
{
  CallsPart key = {.context = context, .place = place};
  CallsPart *part = g_hash_table_lookup(calls->parts.set, &key);
  if (part)
    return part;
  part = table_add(&calls->parts, &key, sizeof key, PART_LIMIT, "parts of functions", error);
  if (part)
    g_ptr_array_add(context->parts, part);
  return part;
}

/* The part that an instruction is of. */
static CallsPart *
part_at(ProfileCalls *calls, ProfileContext *context, guint64 vaddr, GError **error)
{
  CallsPart *last = context->last;
  if (last && last->place && vaddr - last->place->vaddr < last->place->size)
    return last;
  context->last = part_of(calls, context, calls_find(context->object, vaddr), error);
  return context->last;
}

static void
append(GPtrArray **list, gpointer item)
{
  if (!*list)
    *list = g_ptr_array_new();
  g_ptr_array_add(*list, item);
}

gboolean
profile_calls_cost(ProfileCalls *calls, ProfileContext *context, guint64 vaddr, guint64 cost, GError **error)
{
  CallsPart *part = part_at(calls, context, vaddr, error);
  if (part)
    part->self = profile_sum(part->self, cost);
  return part != NULL;
}

gboolean
profile_calls_call(ProfileCalls *calls, ProfileContext *context, guint64 vaddr, ProfileContext *callee,
                   guint64 target, guint64 count, guint64 cost, GError **error)
{
  CallsPart *from = part_at(calls, context, vaddr, error);
  if (!from)
    return FALSE;
  CallsCall key = {.from = from,
                   .place = calls_find(callee->object, target),
                   .callee = callee,
                   .object = callee->object,
                   .nested = callee->nested};
  if (!callee->called) {
    callee->called = TRUE;
    callee->entry = target;
  }
  /* A call of a function's own middle begins nothing. */
  if (key.place && key.place == from->place && target != key.place->vaddr)
    return TRUE;
  CallsCall *call = g_hash_table_lookup(calls->calls.set, &key);
  if (!call) {
    call = table_add(&calls->calls, &key, sizeof key, CALL_LIMIT, "pairs of functions that call", error);
    if (!call)
      return FALSE;
    append(&from->calls, call);
  }
  call->calls = profile_sum(call->calls, count);
  call->cost = profile_sum(call->cost, cost);
  return TRUE;
}

gboolean
profile_calls_jump(ProfileCalls *calls, ProfileContext *context, guint64 vaddr, guint64 target, guint64 count,
                   GError **error)
{
  const ProfilePlace *place = calls_find(context->object, target);
  if (!place || place->vaddr != target)
    return TRUE;
  CallsPart *from = part_at(calls, context, vaddr, error);
  if (!from || from->place == place)
    return from != NULL;
  CallsJump key = {.from = from, .to = part_of(calls, context, place, error)};
  if (!key.to)
    return FALSE;
  CallsJump *jump = g_hash_table_lookup(calls->jumps.set, &key);
  if (!jump) {
    jump = table_add(&calls->jumps, &key, sizeof key, CALL_LIMIT, "pairs of functions that jump", error);
    if (!jump)
      return FALSE;
    append(&from->jumps, jump);
  }
  jump->count = profile_sum(jump->count, count);
  key.to->entered = profile_sum(key.to->entered, count);
  return TRUE;
}
