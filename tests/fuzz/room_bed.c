#include "room_bed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/evidence.h"
#include "wire/message.h"

static Bed bed;
static char *folder, *path, *kept; /* where the file is, and what is in it at the beginning */
static gsize kept_length;
static guint kept_entries[BED_DOCUMENTS];
static GBytes *bobs; /* his replica of BED_OWN then */
static DocDocument *bob_doc;

void
bed_demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

/* ---- servers ---- */

typedef struct {
  guint64 id, from;
  DocWhat what;
  DocName document;
  GBytes *entry;
  guint count;
  gboolean told;
} Asked;

struct DocClient {
  IdentityPublic server;
  GQueue asked, events;
  guint64 last;
  gboolean lies;
};

static GPtrArray *clients, *more_shelves;

DocClient *__wrap_doc_client_new(const char *const *addresses, const IdentityPublic *server,
                                 const IdentityKey *own, GError **error);
void __wrap_doc_client_free(DocClient *client);
guint64 __wrap_doc_client_append(DocClient *client, const DocName *document, GBytes *entry);
guint64 __wrap_doc_client_read(DocClient *client, const DocName *document, guint64 from, guint count);
guint64 __wrap_doc_client_head(DocClient *client, const DocName *document);
guint64 __wrap_doc_client_follow(DocClient *client, const DocName *document, guint64 from);
void __wrap_doc_client_end(DocClient *client, guint64 call);
guint __wrap_doc_client_prepare(gpointer client, struct pollfd *fds, int *timeout_ms);
gboolean __wrap_doc_client_work(DocClient *client, GError **error);
DocClientEvent *__wrap_doc_client_take(DocClient *client);
gboolean __wrap_doc_client_is_up(const DocClient *client);
const GError *__wrap_doc_client_trouble(const DocClient *client);

static void
asked_free(gpointer data)
{
  Asked *asked = data;
  g_clear_pointer(&asked->entry, g_bytes_unref);
  g_free(asked);
}

DocClient *
__wrap_doc_client_new(const char *const *addresses, const IdentityPublic *server, const IdentityKey *own,
                      GError **error)
{
  if (!addresses[0]) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no address");
    return NULL;
  }
  DocClient *client = g_new0(DocClient, 1);
  client->server = *server;
  g_ptr_array_add(clients, client);
  return client;
}

void
__wrap_doc_client_free(DocClient *client)
{
  if (!client)
    return;
  g_queue_clear_full(&client->asked, asked_free);
  g_queue_clear_full(&client->events, (GDestroyNotify)doc_client_event_free);
  g_ptr_array_remove(clients, client);
  g_free(client);
}

static guint64
ask(DocClient *client, DocWhat what, const DocName *document, GBytes *entry, guint64 from, guint count)
{
  Asked *asked = g_new0(Asked, 1);
  *asked = (Asked){++client->last, from, what, *document, entry ? g_bytes_ref(entry) : NULL, count, FALSE};
  g_queue_push_tail(&client->asked, asked);
  return asked->id;
}

guint64
__wrap_doc_client_append(DocClient *client, const DocName *document, GBytes *entry)
{
  return ask(client, DOC_WHAT(APPEND), document, entry, 0, 0);
}

guint64
__wrap_doc_client_read(DocClient *client, const DocName *document, guint64 from, guint count)
{
  return ask(client, DOC_WHAT(READ), document, NULL, from, count);
}

guint64
__wrap_doc_client_head(DocClient *client, const DocName *document)
{
  return ask(client, DOC_WHAT(HEAD), document, NULL, 0, 0);
}

guint64
__wrap_doc_client_follow(DocClient *client, const DocName *document, guint64 from)
{
  return ask(client, DOC_WHAT(FOLLOW), document, NULL, from, 0);
}

static void
end_asked(DocClient *client, GList *link)
{
  asked_free(link->data);
  g_queue_delete_link(&client->asked, link);
}

void
__wrap_doc_client_end(DocClient *client, guint64 call)
{
  for (GList *link = client->asked.head, *next; link; link = next) {
    next = link->next;
    if (((const Asked *)link->data)->id == call)
      end_asked(client, link);
  }
  for (GList *link = client->events.head, *next; link; link = next) {
    next = link->next;
    if (((const DocClientEvent *)link->data)->call != call)
      continue;
    doc_client_event_free(link->data);
    g_queue_delete_link(&client->events, link);
  }
}

guint
__wrap_doc_client_prepare(gpointer client, struct pollfd *fds, int *timeout_ms)
{
  return 0;
}

gboolean
__wrap_doc_client_work(DocClient *client, GError **error)
{
  return !client->lies ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the documents' server cannot be trusted");
}

DocClientEvent *
__wrap_doc_client_take(DocClient *client)
{
  return g_queue_pop_head(&client->events);
}

gboolean
__wrap_doc_client_is_up(const DocClient *client)
{
  return TRUE;
}

const GError *
__wrap_doc_client_trouble(const DocClient *client)
{
  return NULL;
}

/* ---- what they have ---- */

static BedShelf *
find_shelf(const DocName *name)
{
  for (guint i = 0; i < BED_DOCUMENTS; i++)
    if (bed.shelves[i].history && doc_name_equal(&bed.shelves[i].name, name))
      return &bed.shelves[i];
  for (guint i = 0; i < more_shelves->len; i++)
    if (doc_name_equal(&((BedShelf *)more_shelves->pdata[i])->name, name))
      return more_shelves->pdata[i];
  return NULL;
}

static void
shelf_init(BedShelf *shelf, const DocName *name)
{
  *shelf =
      (BedShelf){.name = *name, .entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref)};
  shelf->history = doc_history_new(name);
}

static void
shelf_free(gpointer data)
{
  BedShelf *shelf = data;
  g_ptr_array_unref(shelf->entries);
  doc_history_free(shelf->history);
  g_free(shelf);
}

/* The number that it has there now; 0: none, as a correct server does. */
static guint64
give_number(BedShelf *shelf, GBytes *entry)
{
  for (guint i = 0; i < shelf->entries->len; i++)
    if (g_bytes_equal(shelf->entries->pdata[i], entry))
      return i + 1;
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
  DocVerdict verdict;
  DocFault fault;
  if (!envelope || !doc_history_would_take(shelf->history, envelope, &verdict, &fault) ||
      verdict == DOC_VOID_STRANGER)
    return 0;
  bed_demand(doc_history_take(shelf->history, shelf->entries->len + 1, envelope, &verdict, NULL));
  g_ptr_array_add(shelf->entries, g_bytes_ref(entry));
  return shelf->entries->len;
}

static DocClientEvent *
event_new(const Asked *asked, DocStatus status)
{
  DocClientEvent *event = g_new0(DocClientEvent, 1);
  event->call = asked->id;
  event->what = asked->what;
  event->document = asked->document;
  event->answer = doc_answer_new(asked->id, status, NULL);
  return event;
}

static void
add_entries(DocClientEvent *event, const BedShelf *shelf, guint64 from, guint count)
{
  for (guint64 number = MAX(from, 1); number <= shelf->entries->len && event->answer->entries->len < count;
       number++) {
    if (event->answer->number == 0)
      event->answer->number = number;
    g_ptr_array_add(event->answer->entries, g_bytes_ref(shelf->entries->pdata[number - 1]));
  }
}

/* As clonedoc/server/client.h promises. FALSE: the server is found out. */
static gboolean
is_answer(const DocClientEvent *event)
{
  const DocAnswer *answer = event->answer;
  gboolean good = answer->status == DOC_STATUS(OK), none = answer->entries->len == 0;
  if ((!good && (!none || answer->number > 0)) ||
      (good && event->what == DOC_WHAT(APPEND) && (answer->number == 0 || !none)) ||
      (good && event->what == DOC_WHAT(HEAD) && (answer->number > 0 || !none)) ||
      (!none && answer->number == 0))
    return FALSE;
  if (!event->head.packed)
    return !good && answer->status != DOC_STATUS(UNKNOWN);
  guint64 least = answer->number + (none ? 0 : answer->entries->len - 1);
  return doc_name_equal(&event->head.document, &event->document) &&
         (answer->status == DOC_STATUS(UNKNOWN) ? event->head.number == 0 : event->head.number >= least);
}

/* Of what was asked first or later; FALSE: that goes on. */
static gboolean
tell(DocClient *client, GList *link, DocClientEvent *event)
{
  Asked *asked = link->data;
  if (!is_answer(event)) {
    doc_client_event_free(event);
    client->lies = TRUE;
    return FALSE;
  }
  g_queue_push_tail(&client->events, event);
  asked->told = TRUE;
  if (asked->what == DOC_WHAT(FOLLOW) && event->answer->status == DOC_STATUS(OK)) {
    if (event->answer->entries->len > 0)
      asked->from = event->answer->number + event->answer->entries->len;
    return FALSE;
  }
  end_asked(client, link);
  return TRUE;
}

static void
answer_rightly(DocClient *client, GList *link)
{
  const Asked *asked = link->data;
  BedShelf *shelf = find_shelf(&asked->document);
  DocClientEvent *event = event_new(asked, DOC_STATUS(OK));
  if (!shelf && asked->what == DOC_WHAT(APPEND)) {
    shelf = g_new0(BedShelf, 1);
    shelf_init(shelf, &asked->document);
    g_ptr_array_add(more_shelves, shelf);
  }
  if (!shelf || shelf->entries->len == 0)
    event->answer->status = DOC_STATUS(UNKNOWN);
  if (shelf && asked->what == DOC_WHAT(APPEND)) {
    event->answer->number = give_number(shelf, asked->entry);
    event->answer->status = event->answer->number > 0 ? DOC_STATUS(OK) : DOC_STATUS(REFUSED);
  } else if (shelf && asked->what != DOC_WHAT(HEAD)) {
    add_entries(event, shelf, asked->from, asked->count > 0 ? asked->count : 1024);
  }
  gboolean nothing = asked->what == DOC_WHAT(FOLLOW) && asked->told && event->answer->entries->len == 0;
  if (shelf && event->answer->status != DOC_STATUS(REFUSED)) {
    doc_head_sign(&event->head, shelf->history, bed.server);
  } else if (!shelf) {
    g_autoptr(DocHistory) empty = doc_history_new(&asked->document);
    doc_head_sign(&event->head, empty, bed.server);
  }
  if (nothing)
    doc_client_event_free(event);
  else
    tell(client, link, event);
}

static void
serve_rightly(void)
{
  for (guint i = 0; i < clients->len; i++) {
    DocClient *client = clients->pdata[i];
    if (!identity_public_equal(&client->server, identity_key_public(bed.server)))
      continue;
    for (GList *link = client->asked.head, *next; link; link = next) {
      next = link->next;
      answer_rightly(client, link);
    }
  }
}

static void
add_lies(DocClientEvent *event, const BedShelf *shelf, Input *input)
{
  for (guint count = input_below(input, 4); count > 0; count--) {
    guint which = input_below(input, shelf->entries->len + 2);
    gsize length;
    if (which < shelf->entries->len) {
      g_ptr_array_add(event->answer->entries, g_bytes_ref(shelf->entries->pdata[which]));
    } else if (which == shelf->entries->len && shelf->other_entry) {
      g_ptr_array_add(event->answer->entries, g_bytes_ref(shelf->other_entry));
    } else {
      const guint8 *bytes = input_blob(input, &length);
      if (length > 0)
        g_ptr_array_add(event->answer->entries, g_bytes_new(bytes, length));
    }
  }
}

static void
add_head(DocClientEvent *event, const BedShelf *shelf, Input *input)
{
  guint which = input_below(input, 6);
  gsize length;
  if (which < 3 && shelf->heads[which]) {
    const void *packed = g_bytes_get_data(shelf->heads[which], &length);
    bed_demand(doc_head_decode(&event->head, packed, length, identity_key_public(bed.server), NULL));
  } else if (which == 4) {
    /* Further than anything that it has. */
    g_autoptr(DocHistory) longer = doc_history_new(&shelf->name);
    for (guint i = 0; i < shelf->entries->len; i++) {
      const void *bytes = g_bytes_get_data(shelf->entries->pdata[i], &length);
      g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
      DocVerdict verdict;
      doc_history_take_again(longer, i + 1, envelope, &verdict, NULL);
    }
    doc_head_sign(&event->head, longer, bed.server);
    event->head.number += input_below(input, 3);
  } else if (which != 5) {
    doc_head_sign(&event->head, shelf->history, bed.server);
  }
}

static void
lie(DocClient *client, Input *input)
{
  GList *link = g_queue_peek_nth_link(&client->asked, input_below(input, client->asked.length));
  const Asked *asked = link->data;
  const BedShelf *shelf = find_shelf(&asked->document);
  if (!shelf) {
    tell(client, link, event_new(asked, (DocStatus)(1 + input_below(input, 6))));
    return;
  }
  DocClientEvent *event = event_new(asked, (DocStatus)input_below(input, 7));
  event->answer->number = input_below(input, 2) ? asked->from : input_below(input, 8);
  if (asked->what != DOC_WHAT(APPEND) && asked->what != DOC_WHAT(HEAD))
    add_lies(event, shelf, input);
  if (asked->what == DOC_WHAT(HEAD) || (event->answer->entries->len == 0 && asked->what != DOC_WHAT(APPEND)))
    event->answer->number = 0;
  add_head(event, shelf, input);
  tell(client, link, event);
}

void
bed_serve(Input *input)
{
  if (!input) {
    serve_rightly();
    return;
  }
  DocClient *client = clients->len > 0 ? clients->pdata[input_below(input, clients->len)] : NULL;
  if (client && client->asked.length > 0)
    lie(client, input);
}

/* ---- the room ---- */

gboolean
bed_open(GError **error)
{
  DocRoomOptions options = DOC_ROOM_OPTIONS_DEFAULT;
  options.path = path;
  options.key = bed.ann;
  options.user = *identity_key_public(bed.ann);
  options.interval_ms = 0;
  options.entries_each = 1;
  options.checkpoint_each = 4;
  options.documents_max = options.invitations_max = 8;
  bed.room = doc_room_open(&options, error);
  return bed.room != NULL;
}

void
bed_work(void)
{
  g_autoptr(GError) error = NULL;
  GArray *fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  int timeout_ms = -1;
  bed_demand(doc_room_work(bed.room, &error));
  doc_room_prepare(bed.room, fds, &timeout_ms);
  g_array_unref(fds);
  for (guint i = 0; i < bed.room->documents->len; i++) {
    const RoomDocument *document = bed.room->documents->pdata[i];
    for (guint j = 0; document->doc && j < document->copies->len; j++)
      bed_demand(doc_pair_length(((const RoomCopy *)document->copies->pdata[j])->pair) ==
                 ot_text_length(doc_document_text(document->doc)));
  }
}

void
bed_restart(void)
{
  g_clear_pointer(&bed.room, doc_room_free);
  bed_demand(bed_open(NULL));
}

int
bed_converse(DocRoomService service, const IdentityKey *user)
{
  int ends[2];
  bed_demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  doc_room_converse(bed.room, ends[1], service, user ? identity_key_public(user) : NULL,
                    user == bed.bob ? "bob" : "eve");
  return ends[0];
}

/* ---- before the first input ---- */

static IdentityKey *
key_of(guint8 number)
{
  guint8 seed[IDENTITY_SEED_LENGTH] = {number};
  return identity_key_from_seed(seed);
}

static void
rounds(guint count)
{
  for (; count > 0; count--) {
    bed_work();
    serve_rightly();
  }
}

static void
question(DocRoomQuestion *asked, Doppel__Room__Question__WhatCase what)
{
  int fd = bed_converse(DOC_ROOM_DEVICE, NULL);
  asked->what_case = what;
  bed_demand(wire_stream_send(fd, &asked->base, NULL));
  rounds(4);
  close(fd);
  rounds(1);
}

static RoomDocument *
create(BedShelf *shelf)
{
  char address[] = "host:1", *addresses[] = {address}, title[] = "notes";
  DocRoomQuestion asked = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Create wanted = DOPPEL__ROOM__CREATE__INIT;
  wanted.title = title;
  wanted.addresses = addresses;
  wanted.n_addresses = 1;
  wanted.server = wire_borrow(identity_key_public(bed.server)->bytes, IDENTITY_PUBLIC_LENGTH);
  asked.create = &wanted;
  guint before = bed.room->documents->len;
  int fd = bed_converse(DOC_ROOM_DEVICE, NULL);
  asked.what_case = DOC_ROOM_ASK(CREATE);
  bed_demand(wire_stream_send(fd, &asked.base, NULL));
  bed_work();
  bed_demand(bed.room->documents->len == before + 1);
  RoomDocument *document = bed.room->documents->pdata[before];
  shelf_init(shelf, &document->name);
  rounds(4);
  close(fd);
  bed_demand(doc_document_number(document->doc) == 1);
  return document;
}

static void
invite_bob(const BedShelf *shelf)
{
  char user[] = "bob";
  DocRoomQuestion asked = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  change.document = wire_borrow(shelf->name.bytes, DOC_NAME_LENGTH);
  change.user = user;
  change.role = DOPPEL__ROOM__ROLE__OWNER;
  change.origin = change.key = wire_borrow(identity_key_public(bed.bob)->bytes, IDENTITY_PUBLIC_LENGTH);
  asked.change = &change;
  question(&asked, DOC_ROOM_ASK(CHANGE));
  bed_demand(shelf->entries->len == 2);
}

static DocDocument *
bob_reads(const BedShelf *shelf)
{
  DocDocument *doc = doc_document_join(&shelf->name, bed.bob, NULL, 0, NULL);
  for (guint i = 0; i < shelf->entries->len; i++) {
    gsize length;
    const void *bytes = g_bytes_get_data(shelf->entries->pdata[i], &length);
    g_auto(DocTaken) taken = {0};
    bed_demand(doc_document_take(doc, i + 1, bytes, length, &taken, NULL));
  }
  return doc;
}

static GBytes *
bob_types(DocDocument *doc, const char *text)
{
  g_autoptr(OtOp) op = ot_op_new_edit(0, 0, text, strlen(text));
  bed_demand(doc_document_edit(doc, op, NULL));
  return doc_document_submit(doc);
}

/* The server gives one number to two entries, and signs both. */
static void
fork_shelf(BedShelf *shelf)
{
  g_autoptr(DocDocument) one = bob_reads(shelf), other = bob_reads(shelf);
  g_autoptr(GBytes) entry = bob_types(one, "here");
  DocHead heads[3] = {{{{0}}}};
  g_auto(DocTaken) taken = {0};
  gsize length;
  guint64 number = shelf->entries->len + 1;
  shelf->other_entry = bob_types(other, "there");
  doc_head_sign(&heads[2], shelf->history, bed.server);
  bed_demand(give_number(shelf, entry) == number);
  const void *bytes = g_bytes_get_data(shelf->other_entry, &length);
  bed_demand(doc_document_take(other, number, bytes, length, &taken, NULL));
  doc_head_sign(&heads[0], shelf->history, bed.server);
  doc_head_sign(&heads[1], doc_document_history(other), bed.server);
  for (guint i = 0; i < 3; i++)
    shelf->heads[i] = g_bytes_ref(heads[i].packed);
  shelf->proof = doc_evidence_of_heads(&heads[1], &heads[0], &heads[0].chain, NULL,
                                       identity_key_public(bed.server), NULL);
  bed_demand(shelf->proof != NULL);
  for (guint i = 0; i < 3; i++)
    doc_head_clear(&heads[i]);
  rounds(4);
}

static void
tell_fork(const BedShelf *shelf)
{
  DocRoomHeads message = DOPPEL__ROOM__HEADS__INIT;
  Doppel__Room__Head head = DOPPEL__ROOM__HEAD__INIT, *heads[] = {&head};
  int fd = bed_converse(DOC_ROOM_HEADS, bed.bob);
  head.document = wire_borrow(shelf->name.bytes, DOC_NAME_LENGTH);
  head.head = wire_borrow_bytes(shelf->heads[1]);
  message.heads = heads;
  message.n_heads = 1;
  bed_demand(wire_stream_send(fd, &message.base, NULL));
  rounds(2);
  close(fd);
}

static void
recover(const BedShelf *shelf)
{
  DocRoomQuestion asked = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Recover wanted = DOPPEL__ROOM__RECOVER__INIT;
  wanted.document = wire_borrow(shelf->name.bytes, DOC_NAME_LENGTH);
  asked.recover = &wanted;
  question(&asked, DOC_ROOM_ASK(RECOVER));
}

static void
open_copy(const BedShelf *shelf)
{
  DocRoomQuestion asked = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Open wanted = DOPPEL__ROOM__OPEN__INIT;
  wanted.document = wire_borrow(shelf->name.bytes, DOC_NAME_LENGTH);
  wanted.copy = wire_borrow(bed.copy, sizeof bed.copy);
  asked.open = &wanted;
  question(&asked, DOC_ROOM_ASK(OPEN));
}

void
bed_invitation(DocRoomInvitation *invitation, char **address)
{
  static char host[] = "host:1", title[] = "plans";
  const BedShelf *shelf = &bed.shelves[BED_INVITED];
  *invitation = (DocRoomInvitation)DOPPEL__ROOM__INVITATION__INIT;
  *address = host;
  invitation->document = wire_borrow(shelf->name.bytes, DOC_NAME_LENGTH);
  invitation->title = title;
  invitation->addresses = address;
  invitation->n_addresses = 1;
  invitation->server = wire_borrow(identity_key_public(bed.server)->bytes, IDENTITY_PUBLIC_LENGTH);
  invitation->number = 2;
  invitation->entry = wire_borrow_bytes(shelf->entries->pdata[1]);
}

static void
be_invited(BedShelf *shelf)
{
  g_autoptr(DocDocument) doc = doc_document_create(bed.bob, identity_key_public(bed.bob));
  g_autoptr(GBytes) first = doc_document_flight(doc);
  DocMember as = {*identity_key_public(bed.ann), *identity_key_public(bed.ann), DOC_WRITER};
  g_auto(DocTaken) taken = {0};
  gsize length;
  const void *bytes = g_bytes_get_data(first, &length);
  DocRoomInvitation invitation;
  char *address;
  shelf_init(shelf, doc_document_name(doc));
  bed_demand(give_number(shelf, first) == 1 && doc_document_take(doc, 1, bytes, length, &taken, NULL) &&
             doc_document_change(doc, &as, 1, NULL));
  g_autoptr(GBytes) change = doc_document_submit(doc);
  bed_demand(give_number(shelf, change) == 2);
  int fd = bed_converse(DOC_ROOM_INVITE, bed.bob);
  bed_invitation(&invitation, &address);
  bed_demand(wire_stream_send(fd, &invitation.base, NULL));
  rounds(2);
  close(fd);
}

static void
remove_folder(void)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", folder);
  if (system(command) != 0)
    abort();
}

/* In memory, where that is a folder. */
static void
make_folder(void)
{
  g_autofree char *name = g_strdup("/dev/shm/doppel-fuzz-XXXXXX");
  folder = g_mkdtemp(name) ? g_steal_pointer(&name) : g_dir_make_tmp("doppel-fuzz-XXXXXX", NULL);
  path = g_build_filename(folder, "room", NULL);
  atexit(remove_folder);
}

static void
prepare(void)
{
  make_folder();
  bed.ann = key_of(1);
  bed.bob = key_of(2);
  bed.eve = key_of(3);
  bed.server = key_of(4);
  clients = g_ptr_array_new();
  more_shelves = g_ptr_array_new_with_free_func(shelf_free);
  bed_demand(bed_open(NULL));
  for (guint i = 0; i < BED_DOCUMENTS; i++) {
    BedShelf *shelf = &bed.shelves[i];
    if (i == BED_INVITED) {
      be_invited(shelf);
      continue;
    }
    create(shelf);
    invite_bob(shelf);
    fork_shelf(shelf);
  }
  bed.copy[0] = 7;
  open_copy(&bed.shelves[BED_OWN]);
  tell_fork(&bed.shelves[BED_RECOVERED]);
  tell_fork(&bed.shelves[BED_STOPPED]);
  recover(&bed.shelves[BED_RECOVERED]);
  rounds(4);
  bed_demand(room_fault(room_find(bed.room, bed.shelves[BED_STOPPED].name.bytes)) == DOC_FAULT_TWO_HEADS);
  const RoomDocument *recovered = room_find(bed.room, bed.shelves[BED_RECOVERED].name.bytes);
  bed_demand(room_fault(recovered) == DOC_FAULT_NONE && recovered->stage == ROOM_STAGE(JOINED) &&
             recovered->proof);
  g_autoptr(DocDocument) doc = bob_reads(&bed.shelves[BED_OWN]);
  bobs = doc_document_save(doc);
  g_clear_pointer(&bed.room, doc_room_free);
  bed_demand(g_file_get_contents(path, &kept, &kept_length, NULL));
  for (guint i = 0; i < BED_DOCUMENTS; i++)
    kept_entries[i] = bed.shelves[i].entries->len;
}

/* ---- inputs ---- */

static void
shelf_reset(BedShelf *shelf, guint count)
{
  if (shelf->entries->len == count)
    return;
  g_ptr_array_set_size(shelf->entries, (gint)count);
  doc_history_free(shelf->history);
  shelf->history = doc_history_new(&shelf->name);
  for (guint i = 0; i < count; i++) {
    gsize length;
    const void *bytes = g_bytes_get_data(shelf->entries->pdata[i], &length);
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
    DocVerdict verdict;
    bed_demand(doc_history_take_again(shelf->history, i + 1, envelope, &verdict, NULL));
  }
}

/* What is left of the last input's log would be taken for this one's. */
static void
write_file(void)
{
  g_autofree char *log = g_strconcat(path, "-wal", NULL);
  g_autofree char *index = g_strconcat(path, "-shm", NULL);
  unlink(log);
  unlink(index);
  g_auto(Fd) fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bed_demand(io_write_all(fd, kept, kept_length));
}

Bed *
bed_begin(void)
{
  if (!kept)
    prepare();
  write_file();
  for (guint i = 0; i < BED_DOCUMENTS; i++)
    shelf_reset(&bed.shelves[i], kept_entries[i]);
  bed_demand(bed_open(NULL));
  return &bed;
}

void
bed_end(void)
{
  g_clear_pointer(&bed.room, doc_room_free);
  g_clear_pointer(&bob_doc, doc_document_free);
  g_ptr_array_set_size(more_shelves, 0);
  bed_demand(clients->len == 0);
}

void
bed_bob_writes(void)
{
  BedShelf *shelf = &bed.shelves[BED_OWN];
  gsize length;
  const void *state = g_bytes_get_data(bobs, &length);
  if (!bob_doc)
    bob_doc = doc_document_load(bed.bob, state, length, NULL);
  while (doc_document_number(bob_doc) < shelf->entries->len) {
    guint64 number = doc_document_number(bob_doc) + 1;
    const void *bytes = g_bytes_get_data(shelf->entries->pdata[number - 1], &length);
    g_auto(DocTaken) taken = {0};
    if (!doc_document_take(bob_doc, number, bytes, length, &taken, NULL))
      return;
  }
  g_autoptr(OtOp) op = ot_op_new_edit(0, ot_text_length(doc_document_text(bob_doc)) / 2, "bob", 3);
  doc_document_edit(bob_doc, op, NULL);
  g_autoptr(GBytes) entry = doc_document_submit(bob_doc);
  if (entry)
    give_number(shelf, entry);
}

const char *
bed_file(void)
{
  return path;
}
