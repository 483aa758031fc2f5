/* Calls of an ordering server and its answers (wire/doc_call.proto), checked as they are decoded: what comes
 * out of here is within the limits below, whatever the bytes were. Entries and heads stay bytes: what they
 * say clonedoc/envelope.h and history.h tell.
 *
 * A message that is longer than DOC_PART_MAX travels in parts: all but the last on a channel of their own. */
#pragma once

#include "clonedoc/history.h"
#include "link/link.h"
#include "wire/doc_call.pb-c.h"

#define DOC_CHANNEL      0x44430000u
#define DOC_CHANNEL_PART 0x44430001u
#define DOC_PORT         "3679"
#define DOC_PART_MAX     (256u << 10)             /* bytes of a link's message */
#define DOC_CALL_MAX     (DOC_ENVELOPE_MAX + 256) /* of a call */
#define DOC_BULK         (1u << 20)               /* of entries in an answer, or one entry more than that */
#define DOC_ANSWER_MAX   (DOC_BULK + DOC_ENVELOPE_MAX + 4096)
#define DOC_ENTRIES_MAX  1024u /* in an answer */
#define DOC_WORDS_MAX    400u  /* bytes of an answer's words */

typedef Doppel__Wire__DocCall__WhatCase DocWhat;
typedef Doppel__Wire__DocAnswer__Status DocStatus;
#define DOC_WHAT(NAME)   DOPPEL__WIRE__DOC_CALL__WHAT_##NAME
#define DOC_STATUS(NAME) DOPPEL__WIRE__DOC_ANSWER__STATUS__##NAME

typedef struct {
  guint64 id;
  DocName document;
  DocWhat what;
  GBytes *entry; /* APPEND: not empty, at most DOC_ENVELOPE_MAX */
  guint64 from;  /* READ, FOLLOW: from 1 on */
  guint count;   /* READ: at most DOC_ENTRIES_MAX; 0: as many as fit */
  guint64 ends;  /* END */
} DocCall;
void doc_call_free(DocCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocCall, doc_call_free)

GBytes *doc_call_encode(const DocCall *call);
/* NULL: HOSTILE. */
DocCall *doc_call_decode(const void *data, gsize length, GError **error);

typedef struct {
  guint64 id;
  DocStatus status;
  char *words; /* or NULL */
  guint64 number;
  GPtrArray *entries; /* of GBytes, none empty; never NULL */
  GBytes *head;       /* or NULL */
  DocFault fault;
} DocAnswer;
DocAnswer *doc_answer_new(guint64 id, DocStatus status, const char *words);
void doc_answer_free(DocAnswer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocAnswer, doc_answer_free)

GBytes *doc_answer_encode(const DocAnswer *answer);
DocAnswer *doc_answer_decode(const void *data, gsize length, GError **error);

/* Lower-case words for it. */
const char *doc_status_name(DocStatus status);

/* Sends a message, in parts where it is long. */
gboolean doc_message_send(Link *link, GBytes *bytes, GError **error);

/* What has come of a message so far; NULL: nothing. */
typedef struct {
  GByteArray *bytes;
} DocParts;
void doc_parts_clear(DocParts *parts);

/* Takes a message of the link: 1 with the whole (*whole, the caller's), 0: more has to come, -1 with HOSTILE:
 * on no channel of ours, or longer than `most`. */
int doc_parts_take(DocParts *parts, const LinkMessage *message, gsize most, GBytes **whole, GError **error);
