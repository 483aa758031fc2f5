/* Receipts: what the receiver's clone says, signed with its key, of a file that it has kept. */
#pragma once

#include "c2c/send_box.h"
#include "c2c/service_node.h"

/* What is signed for `item` (a ReceiptStatement); `sender` is the origin key of who has sent it. */
GBytes *send_receipt_statement(const SendItem *item, const IdentityPublic *sender);

/* Whether the receipt is for this item, whole, and its signature is right for the key in it; and that key is
 * `clone_key` unless NULL. DENIED where not. *name is what it is kept as, the caller's (may be NULL). */
gboolean send_receipt_check(const Doppel__Send__Receipt *receipt, const SendItem *item,
                            const IdentityPublic *clone_key, char **name, GError **error);

/* Signs it as a node does with its clone's key, after it has checked that it is a ReceiptStatement (nothing
 * else may be signed for a service). FALSE with HOSTILE. */
gboolean send_receipt_sign(const IdentityKey *key, const guint8 *statement, gsize length,
                           guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error);
