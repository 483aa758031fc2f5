/* Clone2Clone: streams between the clones of different users (Clone2Clone, section 4).
 *
 * A program on a device or in a clone opens a stream to a named service of another user's clone, or offers
 * one. Streams are authenticated and encrypted between the two clones; who may open one is for the owner of
 * the clone that offers it to allow ("doppel allow USER SERVICE"); nobody may by default.
 *
 * Link with -ldoppel-c2c. Functions block unless they say otherwise; a C2c may be used by one thread at a
 * time. Strings in `*why` are the caller's to free(3); `why` may be NULL. */
#ifndef DOPPEL_C2C_H
#define DOPPEL_C2C_H

#ifdef __cplusplus
extern "C" {
#endif

#define C2C_KEY_LENGTH 32

typedef struct C2c C2c;
typedef struct C2cListener C2cListener;

/* Who has opened a stream, as their clone has proved it. */
typedef struct {
  char name[65];                        /* NUL-terminated; as this clone's owner calls them */
  unsigned char origin[C2C_KEY_LENGTH]; /* the key by which the user is known for ever */
  unsigned char clone[C2C_KEY_LENGTH];  /* the clone's key */
} C2cPeer;

/* Connects to the clone's node, or on a device to the gateway (which is started where there is none).
 * `socket`: its path; NULL: $DOPPEL_C2C_SOCKET, or where they are by default. NULL with *why. */
C2c *c2c_open(const char *socket, char **why);
void c2c_close(C2c *c2c);

/* A stream to `service` of the clone of `user` (a name, "directory/name" or "key:FINGERPRINT"; NULL: the own
 * clone): a connected stream socket, the caller's, for read(2), write(2), poll(2), shutdown(2). -1 with *why
 * and errno: ENOENT no such user or service, EACCES not allowed, EHOSTUNREACH their clone is away, EAGAIN too
 * many streams, EIO.
 *
 * As with TCP (RFC 9293, section 3.8.6.1), the other end may take its time, for ever if its clone stays
 * linked: only the program knows how long is too long. What it writes waits in bounded memory, then write(2)
 * does. Who must not wait sets SO_SNDTIMEO and SO_RCVTIMEO (socket(7)) or asks poll(2). */
int c2c_dial(C2c *c2c, const char *user, const char *service, char **why);

/* How a stream ended, after read(2) has given 0 on it: 0 where the program at the other end has ended it (or
 * is no more); -1 with errno ECONNRESET where it was cut off, by the network or a clone on the way, so that
 * what was read may not be all. (Unix sockets cannot tell that by read(2) itself: unix(7).) Before the end of
 * file it says nothing. */
int c2c_ended(int stream);

/* Offers a service until it is closed. NULL with *why and errno; EEXIST where somebody else offers it. */
C2cListener *c2c_listen(C2c *c2c, const char *service, char **why);

/* Readable when c2c_accept() has something to do; owned by the listener. */
int c2c_listener_fd(const C2cListener *listener);

/* The next stream: a connected stream socket, the caller's. Waits for it. -1 with errno at the end. */
int c2c_accept(C2cListener *listener, C2cPeer *peer);
void c2c_listener_close(C2cListener *listener);

#ifdef __cplusplus
}
#endif
#endif
