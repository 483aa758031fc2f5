/* The serving end of the Unix socket by which programs reach the network of clones (include/doppel/c2c.h): a
 * clone's node and a device's gateway have one each. For processes of the same user only (SO_PEERCRED).
 *
 * It lives in a GMainContext; requests come by callbacks, and are answered then or later. All belongs to one
 * thread. */
#pragma once

#include "c2c/local_packet.h"
#include "identity/key.h"

#define LOCAL_CLIENTS_MAX 256u /* connections at a time */
#define LOCAL_CALLS_MAX   64u  /* requests of one connection that are not answered to the end */
#define LOCAL_UNSENT_MAX                                                                                     \
  (4u << 20)                  /* bytes that wait for one connection: one that does not read is closed        \
                               */
#define LOCAL_WAITING_MAX 32u /* streams that a listener has not taken yet */

/* Of guests (local_server_new_guests()): */
#define LOCAL_GUESTS_MAX  128u /* connections at a time */
#define LOCAL_GUESTS_EACH 32u  /* of one sandbox */
#define LOCAL_GUEST_PACE  32u  /* requests of one connection in 100 ms; what is more waits */

typedef struct LocalServer LocalServer;

/* A request. It is valid until its last answer is given, or gone() was called. */
typedef struct LocalCall LocalCall;

typedef struct {
  /* Answer with local_call_connected(), or local_call_refuse(). */
  void (*dial)(LocalCall *call, const char *user, const char *service, void *data);
  /* Answer with local_call_offer(), then local_call_incoming() as often as there is one; or with
   * local_call_refuse(), also later. */
  void (*listen)(LocalCall *call, const char *service, void *data);
  /* Answer with local_call_answer(), the last time without `more`; or with local_call_refuse(). `body` is
   * valid during the call only. */
  void (*control)(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data);
  /* The program has gone, before the last answer; the call is none any more. Never called by a function of
   * this header but local_server_free(). */
  void (*gone)(LocalCall *call, void *data);
} LocalCallbacks;

/* Listens at `path`, where it removes a socket that nobody serves any more; readable and writable for the
 * user alone. GONE where somebody serves it. */
LocalServer *local_server_new(const char *path, GMainContext *context, const LocalCallbacks *callbacks,
                              void *data, GError **error);

/* Likewise, for guests: programs in sandboxes, of whatever user, told apart by their PID namespaces.
 * `listener` listens already, where only they come to; it is the server's from now on. No sandbox keeps
 * others from being heard, whatever its programs send. */
LocalServer *local_server_new_guests(int listener, GMainContext *context, const LocalCallbacks *callbacks,
                                     void *data);

/* Closes every connection, and removes the socket. */
void local_server_free(LocalServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LocalServer, local_server_free)

guint local_server_clients(const LocalServer *server);

/* Whether the socket in the file system is still this one: it may have been removed under us. */
gboolean local_server_is_reachable(const LocalServer *server);

/* What the owner has for a call; NULL at first. */
void local_call_set(LocalCall *call, void *what);
void *local_call_get(const LocalCall *call);

/* Which sandbox a guest is in; 0: it cannot be told. */
guint64 local_call_sandbox(const LocalCall *call);

/* The last answer: an error. */
void local_call_refuse(LocalCall *call, Doppel__Wire__C2cRefusal why, const char *words);

/* The last answer to a DIAL: takes `fd`, a connected stream socket. */
void local_call_connected(LocalCall *call, int fd);

/* Either of them: `fd` is negative where there is none, and `why` and `words` say why. */
void local_call_dialled(LocalCall *call, int fd, Doppel__Wire__C2cRefusal why, const char *words);

/* To a LISTEN: it is offered. */
void local_call_offer(LocalCall *call);

/* To a LISTEN that was offered: nobody can come now, for `words`. local_call_offer() tells that it is offered
 * again. */
void local_call_away(LocalCall *call, const char *words);

/* Who has opened a stream. */
typedef struct {
  const char *name, *service;
  IdentityPublic origin, clone_key;
} LocalFrom;

/* A stream for a LISTEN; takes `fd`. FALSE where too many wait already: refuse it as BUSY. */
gboolean local_call_incoming(LocalCall *call, const LocalFrom *from, int fd);

/* Whether another one would be taken. */
gboolean local_call_has_room(const LocalCall *call);

/* To a CONTROL; `more` will follow. FALSE where it was too long, and the program was told FAILED: with `more`
 * nothing else may be sent for this call then. */
gboolean local_call_answer(LocalCall *call, const guint8 *body, gsize length, gboolean more);
