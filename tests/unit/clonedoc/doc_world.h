/* Members with keys, who write a document's history: for tests. */
#pragma once

#include "clonedoc/history.h"
#include "clonedoc/keys.h"

typedef struct {
  IdentityKey *key, *user;
  DocKeyring *ring;
  guint64 sequence;
} Person;

Person *person_new(guint8 seed);
void person_free(Person *person);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Person, person_free)

DocMember person_as(const Person *person, DocRole role);

/* An entry of that person's on the history as it is, with the next sequence; not signed yet. */
DocEnvelope *person_entry(Person *person, const DocHistory *history, DocKind kind);

/* A first entry: `owner`, and `others` as writers. */
DocEnvelope *person_found(Person *owner, Person *const *others, guint count, DocName *document);

/* A sealed and signed edit. */
DocEnvelope *person_edit(Person *person, const DocHistory *history, const char *body);

/* A change of members: `who` gets `role`, keys for all who need some, from epoch `first` on for who is new.
 * Makes a new key where somebody goes. */
DocEnvelope *person_change(Person *owner, const DocHistory *history, const Person *who, DocRole role,
                           guint first);

/* What a member does with a change that was taken: opens its keys. */
gboolean person_learn(Person *person, const DocEnvelope *envelope);

/* Takes it as the next, which has to succeed. */
DocVerdict history_add(DocHistory *history, const DocEnvelope *envelope);
