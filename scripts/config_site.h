/* pjproject's build-time limits for a bridge: many calls, signalling only.
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* Limits that are otherwise those of a softphone (4 calls, 8 accounts). A person may have an account
 * of their own, besides the trunks. */
#define PJSUA_MAX_CALLS 1024
#define PJSUA_MAX_ACC 1024
#define PJ_IOQUEUE_MAX_HANDLES 8192

/* Sizes of hash tables, 2^n - 1: an ended dialog or transaction stays for 32 s (RFC 3261, timers D
 * and J), so there are far more of them than calls. */
#define PJSIP_MAX_TSX_COUNT 8191
#define PJSIP_MAX_DIALOG_COUNT 4095

/* A carrier's INVITE with its Via, Record-Route and Identity headers outgrows 4000 bytes. */
#define PJSIP_MAX_PKT_LEN 8000

/* A message that is kept takes what it needs, and no more than this besides. */
#define PJSIP_POOL_INC_TDATA 1000

/* Whole messages go through the log into a call's ladder, and whole session descriptions through
 * pjsua2's copies of them: by default the one ends at 4000 bytes, the other at 1024. */
#define PJ_LOG_MAX_SIZE (PJSIP_MAX_PKT_LEN + 500)
#define PJSUA2_MAX_SDP_BUF_LEN PJSIP_MAX_PKT_LEN

/* A trunk's transport is what its settings say: a long INVITE that tries TCP first (RFC 3261 18.1.1)
 * waits in vain for a provider whose firewall drops that. */
#define PJSIP_DONT_SWITCH_TO_TCP 1

/* Which account uses IPv6 is decided by the address of its server. */
#define PJ_HAS_IPV6 1

/* Bursts of requests wait in the kernel instead of being lost (the kernel caps these at its own
 * net.core.rmem_max and wmem_max). */
#define PJSIP_UDP_SO_RCVBUF_SIZE (4 * 1024 * 1024)
#define PJSIP_UDP_SO_SNDBUF_SIZE (4 * 1024 * 1024)

/* The audio does not pass through pjmedia: no video, and a switch board, which has nothing to do,
 * instead of the mixer. */
#define PJMEDIA_HAS_VIDEO 0
#define PJMEDIA_CONF_USE_SWITCH_BOARD 1
