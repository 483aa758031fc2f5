/* What a history is made of: for history.c and history_state.c only. */
#pragma once

#include "clonedoc/history.h"

/* Somebody who is a member or was one; a key that was removed never comes back. */
typedef struct {
  DocMember member;
  guint64 sequence; /* of the last entry */
} DocAuthor;

typedef struct {
  DocChain chain;          /* after the entry */
  guint64 weight;          /* bytes of good edits, sealed, up to here */
  const DocAuthor *author; /* NULL: somebody who never was a member */
} DocPlace;

struct DocHistory {
  DocName document;
  guint64 first;       /* the number of the first place */
  GArray *places;      /* of DocPlace; number 0 is before any entry */
  GHashTable *authors; /* key → DocAuthor */
  guint epoch;
  guint64 members_at;    /* the number of the last change of members */
  guint64 signed_number; /* of the last head that the server has signed */
  DocFault fault;
};

const DocPlace *doc_history_place(const DocHistory *history, guint64 number);
DocAuthor *doc_history_add_author(DocHistory *history, const DocMember *member);
