/* Members with replicas around a server in memory, who type characters of which each is there once: for
 * tests. */
#pragma once

#include "clonedoc/document.h"

/* ---- the server ---- */

typedef struct {
  GPtrArray *entries; /* of GBytes */
  GArray *verdicts;   /* of DocVerdict */
  DocHistory *history;
} Server;

Server *server_new(const DocName *document);
/* One that has the first `count` entries of it, and goes on by itself. */
Server *server_fork(const Server *server, guint64 count);
void server_free(Server *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Server, server_free)

/* FALSE: it gives no number to that, as a correct server. */
gboolean server_submit(Server *server, GBytes *entry);
guint64 server_length(const Server *server);
GBytes *server_entry(const Server *server, guint64 number); /* the server's */

/* ---- what was typed ---- */

typedef struct {
  guint typed;
  GArray *by;      /* who typed it */
  GArray *deleted; /* a bit for each who deleted it; 0: nobody */
} Keyboard;

void keyboard_init(Keyboard *keyboard);
void keyboard_clear(Keyboard *keyboard);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Keyboard, keyboard_clear)

gunichar keyboard_char(guint key);
/* How often each key is in the text: of guint. */
GArray *keyboard_counts(const Keyboard *keyboard, const OtText *text);

/* ---- members ---- */

typedef struct {
  guint number; /* below 32 */
  IdentityKey *key, *user;
  DocDocument *doc;
  GBytes *disk;    /* what was saved */
  GString *editor; /* shown, by the operations that were handed out only */
} Member;

Member *member_new(guint number);
void member_free(Member *member);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Member, member_free)

DocMember member_as(const Member *member, DocRole role);
void member_begin(Member *member, DocDocument *doc);

/* Types `count` keys somewhere in the text, or deletes up to as many. */
void member_type(Member *member, Keyboard *keyboard, GRand *rand, guint count);
void member_delete(Member *member, Keyboard *keyboard, GRand *rand, guint count);
void member_type_at(Member *member, gsize at, const char *text);

/* Takes entry `number`, which has to be one that can be taken. */
DocVerdict member_take(Member *member, const Server *server, guint64 number);
/* Takes what there is, `count` entries at most; stops where it is removed. */
void member_read(Member *member, const Server *server, guint64 count);
/* Sends what there is to send, once more if it is in flight. */
void member_send(Member *member, Server *server);
void member_save(Member *member);
/* Ends without a word, and begins with what was saved. */
void member_restart(Member *member);

void member_change(Member *owner, const Member *who, DocRole role, guint first);
/* The last good entry that lets it in; 0: none. */
guint64 find_invitation(const Server *server, const Member *who);
/* A new replica, which has the keys of that entry and has read nothing. */
void member_join(Member *who, const Server *server);

/* An entry of that member's with any body, on the history as it knows it. */
GBytes *member_seal(const Member *member, DocKind kind, const void *body, gsize length);

char *member_text(const Member *member);

/* A document of the first of `count` members, in which the others write. */
typedef struct {
  GPtrArray *members;
  Server *server;
} Room;

Room room_new(guint count);
void room_clear(Room *room);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Room, room_clear)
Member *room_member(const Room *room, guint index);

/* DOPPEL_DOC_CASES, how many schedules a test goes through, and DOPPEL_DOC_SEED, the first seed, of the
 * environment; else `usual`. */
guint64 from_environment(const char *name, guint64 usual);

/* Until nobody has anything to send or to take. */
void settle(GPtrArray *members, Server *server);
/* All who are members have the same text, and who writes shows it; it. */
char *assert_same(GPtrArray *members);
