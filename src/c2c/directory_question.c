#include <string.h>

#include "base/error.h"
#include "c2c/directory_wire.h"

DirectoryQuestion *
directory_question_new(DirectoryWhat what)
{
  DirectoryQuestion *question = g_new0(DirectoryQuestion, 1);
  question->what = what;
  question->name = g_strdup("");
  return question;
}

void
directory_question_free(DirectoryQuestion *question)
{
  if (!question)
    return;
  g_clear_pointer(&question->record, g_bytes_unref);
  g_clear_pointer(&question->updates, g_array_unref);
  g_clear_pointer(&question->origins, g_array_unref);
  g_free(question->name);
  g_free(question);
}

/* Room for whatever a question may hold while it is packed. */
typedef struct {
  Doppel__Wire__DirectoryRegister register_;
  Doppel__Wire__DirectoryLookup lookup;
  Doppel__Wire__DirectoryList list;
  Doppel__Wire__DirectoryChanges changes;
  Doppel__Wire__DirectoryHeadAt head;
  Doppel__Wire__DirectoryUpdates updates;
  Doppel__Wire__DirectoryDigests digests;
  Doppel__Wire__DirectoryBucket bucket;
  Doppel__Wire__DirectoryFetch fetch;
} Parts;

static GBytes *
encode_updates(Doppel__Wire__DirectoryRequest *request, Parts *parts, const GArray *updates)
{
  guint count = updates ? updates->len : 0;
  doppel__wire__directory_updates__init(&parts->updates);
  parts->updates.n_updates = count;
  parts->updates.updates = directory_wire_give_all(updates);
  request->updates = &parts->updates;
  GBytes *bytes = wire_pack(&request->base);
  directory_wire_free_all(parts->updates.updates, count);
  return bytes;
}

static GBytes *
encode_fetch(Doppel__Wire__DirectoryRequest *request, Parts *parts, const DirectoryQuestion *question)
{
  guint count = question->origins ? question->origins->len : 0;
  g_autofree ProtobufCBinaryData *origins = g_new0(ProtobufCBinaryData, count + 1);
  for (guint i = 0; i < count; i++)
    origins[i] =
        wire_borrow(g_array_index(question->origins, IdentityPublic, i).bytes, IDENTITY_PUBLIC_LENGTH);
  doppel__wire__directory_fetch__init(&parts->fetch);
  parts->fetch.directory = wire_borrow(question->home.bytes, sizeof question->home.bytes);
  parts->fetch.n_origins = count;
  parts->fetch.origins = origins;
  request->fetch = &parts->fetch;
  return wire_pack(&request->base);
}

static ProtobufCBinaryData
maybe_key(gboolean there, const IdentityPublic *key)
{
  return there ? wire_borrow(key->bytes, sizeof key->bytes) : wire_borrow(NULL, 0);
}

GBytes *
directory_question_encode(const DirectoryQuestion *question)
{
  Parts parts;
  Doppel__Wire__DirectoryRequest request = DOPPEL__WIRE__DIRECTORY_REQUEST__INIT;
  request.id = question->id;
  request.what_case = question->what;
  request.asker = maybe_key(question->has_asker, &question->asker);
  switch (question->what) {
  case DIRECTORY_WHAT(REGISTER):
    doppel__wire__directory_register__init(&parts.register_);
    parts.register_.record = wire_borrow_bytes(question->record);
    request.register_ = &parts.register_;
    break;
  case DIRECTORY_WHAT(LOOKUP):
    doppel__wire__directory_lookup__init(&parts.lookup);
    parts.lookup.name = question->name;
    parts.lookup.origin = maybe_key(question->by_origin, &question->origin);
    parts.lookup.directory = maybe_key(question->has_home, &question->home);
    request.lookup = &parts.lookup;
    break;
  case DIRECTORY_WHAT(LIST):
    doppel__wire__directory_list__init(&parts.list);
    parts.list.after = maybe_key(question->by_origin, &question->origin);
    parts.list.count = question->count;
    request.list = &parts.list;
    break;
  case DIRECTORY_WHAT(CHANGES):
    doppel__wire__directory_changes__init(&parts.changes);
    parts.changes.since = question->number;
    parts.changes.bytes = question->bytes;
    request.changes = &parts.changes;
    break;
  case DIRECTORY_WHAT(HEAD):
    doppel__wire__directory_head_at__init(&parts.head);
    parts.head.number = question->number;
    request.head = &parts.head;
    break;
  case DIRECTORY_WHAT(DIGESTS):
    doppel__wire__directory_digests__init(&parts.digests);
    parts.digests.directory = maybe_key(TRUE, &question->home);
    request.digests = &parts.digests;
    break;
  case DIRECTORY_WHAT(BUCKET):
    doppel__wire__directory_bucket__init(&parts.bucket);
    parts.bucket.directory = maybe_key(TRUE, &question->home);
    parts.bucket.bucket = question->bucket;
    request.bucket = &parts.bucket;
    break;
  case DIRECTORY_WHAT(UPDATES):
    return encode_updates(&request, &parts, question->updates);
  case DIRECTORY_WHAT(FETCH):
    return encode_fetch(&request, &parts, question);
  default:
    break;
  }
  return wire_pack(&request.base);
}

static gboolean
take_register(const Doppel__Wire__DirectoryRegister *wire, DirectoryQuestion *question)
{
  if (wire->record.len == 0 || wire->record.len > RECORD_MAX)
    return FALSE;
  question->record = directory_wire_bytes(&wire->record);
  return TRUE;
}

/* Either a name or an origin. */
static gboolean
take_lookup(const Doppel__Wire__DirectoryLookup *wire, DirectoryQuestion *question)
{
  question->by_origin = wire->origin.len > 0;
  question->has_home = wire->directory.len > 0;
  if (question->by_origin ? wire->name[0] != '\0' : !record_name_check(wire->name, NULL))
    return FALSE;
  if ((question->by_origin && !directory_wire_key(&wire->origin, &question->origin)) ||
      (question->has_home && !directory_wire_key(&wire->directory, &question->home)))
    return FALSE;
  g_free(question->name);
  question->name = g_strdup(wire->name);
  return TRUE;
}

static gboolean
take_list(const Doppel__Wire__DirectoryList *wire, DirectoryQuestion *question)
{
  question->by_origin = wire->after.len > 0;
  question->count = wire->count;
  return wire->count > 0 && wire->count <= DIRECTORY_PAGE_MAX &&
         (!question->by_origin || directory_wire_key(&wire->after, &question->origin));
}

static gboolean
take_fetch(const Doppel__Wire__DirectoryFetch *wire, DirectoryQuestion *question)
{
  if (!directory_wire_key(&wire->directory, &question->home) || wire->n_origins == 0 ||
      wire->n_origins > DIRECTORY_FETCH_MAX)
    return FALSE;
  question->origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (gsize i = 0; i < wire->n_origins; i++) {
    IdentityPublic origin;
    if (!directory_wire_key(&wire->origins[i], &origin))
      return FALSE;
    g_array_append_val(question->origins, origin);
  }
  return TRUE;
}

static gboolean
take_question(const Doppel__Wire__DirectoryRequest *request, DirectoryQuestion *question)
{
  switch (request->what_case) {
  case DIRECTORY_WHAT(REGISTER):
    return take_register(request->register_, question);
  case DIRECTORY_WHAT(LOOKUP):
    return take_lookup(request->lookup, question);
  case DIRECTORY_WHAT(LIST):
    return take_list(request->list, question);
  case DIRECTORY_WHAT(CHANGES):
    question->number = request->changes->since;
    question->bytes = MIN(request->changes->bytes, DIRECTORY_BULK);
    return TRUE;
  case DIRECTORY_WHAT(HEAD):
    question->number = request->head->number;
    return TRUE;
  case DIRECTORY_WHAT(UPDATES):
    return request->updates->n_updates > 0 &&
           directory_wire_take_all(request->updates->updates, request->updates->n_updates,
                                   DIRECTORY_UPDATES_MAX, &question->updates);
  case DIRECTORY_WHAT(DIGESTS):
    return directory_wire_key(&request->digests->directory, &question->home);
  case DIRECTORY_WHAT(BUCKET):
    question->bucket = request->bucket->bucket;
    return question->bucket < DIRECTORY_BUCKETS &&
           directory_wire_key(&request->bucket->directory, &question->home);
  case DIRECTORY_WHAT(FETCH):
    return take_fetch(request->fetch, question);
  default:
    return FALSE;
  }
}

DirectoryQuestion *
directory_question_decode(const void *data, gsize length, GError **error)
{
  Doppel__Wire__DirectoryRequest *request =
      length <= DIRECTORY_QUESTION_MAX ? doppel__wire__directory_request__unpack(NULL, length, data) : NULL;
  g_autoptr(DirectoryQuestion) question = request ? directory_question_new(request->what_case) : NULL;
  gboolean good = FALSE;
  if (request) {
    question->id = request->id;
    question->has_asker = request->asker.len > 0;
    good = (!question->has_asker || directory_wire_key(&request->asker, &question->asker)) &&
           take_question(request, question);
    doppel__wire__directory_request__free_unpacked(request, NULL);
  }
  if (good)
    return g_steal_pointer(&question);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                   "%" G_GSIZE_FORMAT " bytes that are no question to a directory", length);
  return NULL;
}
