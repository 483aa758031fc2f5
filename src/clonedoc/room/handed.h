/* An invitation that people pass on themselves, as text, where no clone brings it (wire/doc_room.proto,
 * Handed). It is sealed to the key that is invited, since who knows a document's name can ask its server for
 * the entries, and signed by the author of the entry that makes one a member: of where the document is, what
 * it is called and where to begin reading, nobody else can say anything. */
#pragma once

#include "clonedoc/room/room_call.h"

#define DOC_HANDED_MAX (2u << 20) /* bytes, sealed */

/* NULL: USAGE where another member has made that entry, HOSTILE where `to` is no key, UNSUPPORTED: too long.
 */
GBytes *doc_handed_seal(const DocRoomInvitation *invitation, const IdentityKey *from,
                        const IdentityPublic *to, GError **error);

/* `from` gets who has signed it. NULL: DENIED where it is not for `own`, HOSTILE. */
DocRoomInvitation *doc_handed_open(const void *sealed, gsize length, const IdentityKey *own,
                                   IdentityPublic *from, GError **error);
