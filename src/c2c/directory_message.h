/* Questions to a directory and its answers (wire/directory.proto), checked as they are decoded: a structure
 * that comes out of here is within the limits below, whatever the bytes were. What was signed stays as the
 * bytes that were signed; c2c/directory_head.h says whether it is true. */
#pragma once

#include "c2c/directory_pass.h"
#include "identity/record.h"
#include "link/link.h"
#include "wire/directory.pb-c.h"

#define DIRECTORY_CHANNEL      0x44530000u
#define DIRECTORY_PORT         "3678"
#define DIRECTORY_QUESTION_MAX (256u << 10) /* bytes of a question */
#define DIRECTORY_ANSWER_MAX   (2u << 20)   /* of an answer */
#define DIRECTORY_BULK         (512u << 10) /* of records in an answer, or one record more than that */
#define DIRECTORY_PAGE_MAX     512u         /* users in a page of the list */
#define DIRECTORY_FOUND_MAX    16u          /* users of one name */
#define DIRECTORY_UPDATES_MAX  16u          /* in a question */
#define DIRECTORY_FETCH_MAX    256u         /* origins in a question; updates in an answer */
#define DIRECTORY_SEEN_MAX     16384u       /* users in a bucket */
#define DIRECTORY_MESSAGE_MAX  400u         /* bytes of an answer's words */
#define DIRECTORY_BUCKETS      256
#define DIRECTORY_SIGNED_MAX   (1u << 20) /* bytes of a statement */

typedef Doppel__Wire__DirectoryRequest__WhatCase DirectoryWhat;
typedef Doppel__Wire__DirectoryAnswer__Status DirectoryStatus;
#define DIRECTORY_WHAT(NAME)   DOPPEL__WIRE__DIRECTORY_REQUEST__WHAT_##NAME
#define DIRECTORY_STATUS(NAME) DOPPEL__WIRE__DIRECTORY_ANSWER__STATUS__##NAME

/* A statement and its signature. Reference-counted by its GBytes; free with directory_signed_clear(). */
typedef struct {
  GBytes *statement; /* NULL: there is none */
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
} DirectorySigned;
void directory_signed_clear(DirectorySigned *signed_);
void directory_signed_copy(DirectorySigned *to, const DirectorySigned *from);

/* The bytes of a wire DirectorySigned, to keep: the caller's; and back. FALSE: HOSTILE. */
GBytes *directory_signed_pack(const DirectorySigned *signed_);
gboolean directory_signed_unpack(const void *data, gsize length, DirectorySigned *signed_, GError **error);

/* What is set depends on `what`; keys that are not there are NULL or all zero as said. */
typedef struct {
  guint64 id;
  DirectoryWhat what;
  gboolean has_asker;
  IdentityPublic asker;  /* whose connection's key it is, where that user is registered there */
  GBytes *record;        /* REGISTER */
  char *name;            /* LOOKUP: "" where it is by origin */
  gboolean by_origin;    /* LOOKUP; LIST: `origin` is what it goes on after */
  IdentityPublic origin; /* LOOKUP, LIST */
  gboolean has_home;     /* LOOKUP */
  IdentityPublic home;   /* LOOKUP; DIGESTS, BUCKET, FETCH: of that directory */
  guint32 count;         /* LIST: 1 to DIRECTORY_PAGE_MAX */
  guint64 number;        /* CHANGES: since; HEAD */
  guint32 bytes;         /* CHANGES: of records, at most DIRECTORY_BULK; 0: hashes alone */
  guint32 bucket;        /* BUCKET: below DIRECTORY_BUCKETS */
  GArray *updates;       /* UPDATES: of DirectorySigned */
  GArray *origins;       /* FETCH: of IdentityPublic */
} DirectoryQuestion;
DirectoryQuestion *directory_question_new(DirectoryWhat what);
void directory_question_free(DirectoryQuestion *question);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryQuestion, directory_question_free)

GBytes *directory_question_encode(const DirectoryQuestion *question);

/* NULL with HOSTILE. */
DirectoryQuestion *directory_question_decode(const void *data, gsize length, GError **error);

/* An entry of the log as it travels. */
typedef struct {
  guint64 number;
  guint8 hash[RECORD_HASH_LENGTH];
  GBytes *record; /* NULL: superseded */
} DirectoryLogEntry;

typedef struct {
  IdentityPublic origin;
  guint8 hash[RECORD_HASH_LENGTH];
} DirectorySeen;

typedef struct {
  guint64 id;
  DirectoryStatus status;
  char *message; /* NULL: none */
  DirectorySigned head, found;
  guint64 number;
  gboolean more;
  GArray *entries; /* of DirectoryLogEntry; NULL: none */
  GBytes *digests; /* NULL, or DIRECTORY_BUCKETS times RECORD_HASH_LENGTH */
  GArray *seen;    /* of DirectorySeen; NULL: none */
  GArray *updates; /* of DirectorySigned; NULL: none */
  gboolean has_pass;
  DirectoryPass pass; /* to come in with the next time */
} DirectoryAnswer;
DirectoryAnswer *directory_answer_new(DirectoryStatus status, const char *message);
void directory_answer_free(DirectoryAnswer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryAnswer, directory_answer_free)

GArray *directory_entries_new(void);
GArray *directory_updates_new(void);

GBytes *directory_answer_encode(const DirectoryAnswer *answer);

/* NULL with HOSTILE. */
DirectoryAnswer *directory_answer_decode(const void *data, gsize length, GError **error);

/* What a status that is not OK means to the user: sets `error`. */
gboolean directory_answer_refusal(const DirectoryAnswer *answer, const char *directory, GError **error);
