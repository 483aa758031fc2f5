/* Packets on the Unix socket between programs and a node or a gateway: SOCK_SEQPACKET, one LocalRequest or
 * LocalReply each, with at most one descriptor (SCM_RIGHTS, unix(7)). Plain C: libdoppel-c2c has it too. */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

#include "wire/c2c.pb-c.h"

#define LOCAL_MESSAGE_MAX (64u << 10) /* bytes of one packet */
#define LOCAL_ANSWER_MAX                                                                                     \
  (LOCAL_MESSAGE_MAX - 64u)     /* bytes of an answer's body: other fields are around it                     \
                                 */
#define LOCAL_USER_MAX     160u /* bytes of "directory/name" or "key:FINGERPRINT" */
#define LOCAL_SERVICE_MAX  128u /* bytes of a service's name */
#define LOCAL_VERB_MAX     64u
#define LOCAL_CLONE_SOCKET "/run/doppel/c2c.socket" /* of the node, in the clone's sandboxes */

/* The length of the next packet, with its descriptor in *passed (-1: none), the caller's; `passed` NULL takes
 * none. 0 at the end. -1 with errno: EMSGSIZE for one that is longer. */
ssize_t local_packet_receive(int fd, void *data, size_t size, int *passed, int flags);

/* With the descriptor `passed` (-1: none), which stays the caller's. -1 with errno. No SIGPIPE. */
int local_packet_send(int fd, const void *data, size_t length, int passed, int flags);

/* The address of `path`, by a descriptor of its directory where it is longer than an address can be:
 * *directory is that (-1: none), to be closed after use. -1 with errno. */
int local_packet_address(const char *path, struct sockaddr_un *address, int *directory);

/* Whether a reply has what whoever reads it relies on: lengths, and a reason that is known. */
int local_reply_is_sound(const Doppel__Wire__LocalReply *reply);
