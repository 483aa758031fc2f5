/* A call from afar as people write it by hand: a message there, a message back, over a link of src/link. What
 * goes wrong ends the process. */
#pragma once

#include "link/link.h"
#include "rpc.pb-c.h"

#define RPC_CHANNEL 1

/* The keys of both ends are files in the directory `keys`, made at first use. */
Link *rpc_dial(const char *address, const char *keys);
Link *rpc_accept(int fd, const char *keys);

void rpc_send(Link *link, const ProtobufCMessage *message);

/* Waits for the next message; NULL at the link's end. */
LinkMessage *rpc_receive(Link *link);
