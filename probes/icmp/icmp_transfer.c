// SPDX-License-Identifier: Apache-2.0
/* Moves packets and stamps between one socket and records, in batches. Never blocks. */
#include "icmp.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

/* Takes struct timespec as known. */
#include <linux/errqueue.h>

#define CONTROL_BYTES 256

struct batch {
	struct mmsghdr messages[ICMP_BATCH_MAX];
	struct iovec vectors[ICMP_BATCH_MAX];
	struct sockaddr_in6 peers[ICMP_BATCH_MAX]; /* large enough for sockaddr_in */
	uint8_t control[ICMP_BATCH_MAX][CONTROL_BYTES];
};

static socklen_t set_peer(const struct icmp_socket *sock, struct sockaddr_in6 *peer,
			  const struct icmp_send_record *record)
{
	const struct socket_name name = {
		.family = sock->family,
		.address = record->address,
		.scope_id = record->scope_id,
	};

	return probe_sockaddr(peer, &name);
}

/* Returns how many of the records were handed to the kernel, or the errno of the first if none was. */
int icmp_send(struct icmp_socket *sock, const struct icmp_send_record *records, uint32_t count)
{
	struct mmsghdr messages[ICMP_BATCH_MAX] = {0};
	struct iovec vectors[ICMP_BATCH_MAX];
	struct sockaddr_in6 peers[ICMP_BATCH_MAX];
	int sent;

	if (count > sock->slots)
		count = sock->slots;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *packet = sock->send_buffer + (size_t)i * sock->packet_bytes;

		icmp_fill(sock, packet, &records[i]);
		vectors[i] = (struct iovec){packet, sock->packet_bytes};
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
		messages[i].msg_hdr.msg_name = &peers[i];
		messages[i].msg_hdr.msg_namelen = set_peer(sock, &peers[i], &records[i]);
	}
	sent = sendmmsg(sock->fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	return sent < 0 ? -errno : sent;
}

static int read_batch(struct icmp_socket *sock, struct batch *batch, uint32_t wanted, int flags)
{
	uint32_t count = wanted < sock->slots ? wanted : sock->slots;
	int got;

	for (uint32_t i = 0; i < count; i++) {
		struct msghdr *header = &batch->messages[i].msg_hdr;

		batch->vectors[i] =
			(struct iovec){sock->receive_buffer + (size_t)i * sock->slot_bytes, sock->slot_bytes};
		*header = (struct msghdr){.msg_name = &batch->peers[i],
					  .msg_namelen = sizeof(batch->peers[i]),
					  .msg_iov = &batch->vectors[i],
					  .msg_iovlen = 1,
					  .msg_control = batch->control[i],
					  .msg_controllen = CONTROL_BYTES};
	}
	got = recvmmsg(sock->fd, batch->messages, count, flags | MSG_DONTWAIT, NULL);
	return got < 0 ? -errno : got;
}

/* The kernel's software stamp among the control messages, moved to the socket's monotonic time. */
static bool stamp_of(const struct icmp_socket *sock, struct cmsghdr *control, double *stamp_ns)
{
	int64_t real_ns = probe_stamp_ns(control);

	if (real_ns)
		*stamp_ns = (double)(real_ns - sock->clock_offset_ns - (int64_t)sock->base_ns);
	return real_ns != 0;
}

static void read_reply(struct icmp_socket *sock, struct mmsghdr *message, struct icmp_reply_record *reply)
{
	struct msghdr *header = &message->msg_hdr;
	struct icmp_origin origin = {header->msg_iov->iov_base, message->msg_len,
				     probe_peer(header, sock->family)};
	struct cmsghdr *control;

	reply->hop_limit = 0;
	reply->flags = FLAG_NO_STAMP;
	for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		if (stamp_of(sock, control, &reply->received_ns))
			reply->flags &= ~(uint32_t)FLAG_NO_STAMP;
		if (probe_hop_limit(control))
			reply->hop_limit = probe_hop_limit(control);
	}
	if (reply->flags & FLAG_NO_STAMP)
		reply->received_ns = (double)(probe_now_ns() - sock->base_ns);
	if (sock->family == 4 && sock->kind == KIND_RAW) {
		uint32_t skip = origin.length ? (origin.packet[0] & 0xfu) * 4u : 0;

		reply->hop_limit =
			origin.length > PROBE_IP_TTL_OFFSET ? origin.packet[PROBE_IP_TTL_OFFSET] : 0;
		skip = skip < origin.length ? skip : origin.length;
		origin.packet += skip;
		origin.length -= skip;
	}
	icmp_classify(sock, &origin, reply);
}

static void read_error(struct icmp_socket *sock, struct mmsghdr *message,
		       const struct sock_extended_err *error, struct icmp_notice_record *notice)
{
	struct icmp_origin origin = {message->msg_hdr.msg_iov->iov_base, message->msg_len,
				     probe_peer(&message->msg_hdr, sock->family)};

	notice->error = error->ee_errno;
	notice->origin = error->ee_origin;
	notice->type = error->ee_type;
	notice->code = error->ee_code;
	notice->mtu = error->ee_errno == EMSGSIZE ? error->ee_info : 0;
	probe_offender(error, notice->offender);
	if (!icmp_quoted(sock, &origin, notice)) {
		notice->kind = NOTICE_FOREIGN;
		return;
	}
	memcpy(notice->target, origin.address, sock->family == 4 ? 4 : 16);
}

static void read_notice(struct icmp_socket *sock, struct mmsghdr *message, struct icmp_notice_record *notice)
{
	struct msghdr *header = &message->msg_hdr;
	struct cmsghdr *control;
	bool stamped = false;

	memset(notice, 0, sizeof(*notice));
	notice->kind = NOTICE_FOREIGN;
	for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		const struct sock_extended_err *error = probe_error(control);

		stamped |= stamp_of(sock, control, &notice->stamp_ns);
		if (!error)
			continue;
		if (error->ee_origin != SO_EE_ORIGIN_TIMESTAMPING) {
			read_error(sock, message, error, notice);
			continue;
		}
		notice->kind = NOTICE_SENT;
		notice->stamp_id = error->ee_data;
	}
	if (notice->kind == NOTICE_SENT && !stamped)
		notice->flags |= FLAG_NO_STAMP;
}

/* One of the socket's two queues, and the records that are made of it. */
struct queue {
	int flags; /* MSG_ERRQUEUE, 0 */
	void *records;
	uint32_t capacity;
	/* Fills the record at an index; returns its flags, to be added to. */
	uint32_t *(*read)(struct icmp_socket *sock, struct mmsghdr *message, void *records, uint32_t index);
};

static uint32_t *reply_at(struct icmp_socket *sock, struct mmsghdr *message, void *records, uint32_t index)
{
	struct icmp_reply_record *reply = (struct icmp_reply_record *)records + index;

	read_reply(sock, message, reply);
	return &reply->flags;
}

static uint32_t *notice_at(struct icmp_socket *sock, struct mmsghdr *message, void *records, uint32_t index)
{
	struct icmp_notice_record *notice = (struct icmp_notice_record *)records + index;

	read_notice(sock, message, notice);
	return &notice->flags;
}

/* Returns how many messages were read; fewer than `capacity` means the queue is empty. */
static int drain(struct icmp_socket *sock, const struct queue *queue)
{
	static __thread struct batch batch;
	uint32_t total = 0;

	while (total < queue->capacity) {
		int got = read_batch(sock, &batch, queue->capacity - total, queue->flags);
		bool stepped;

		/* A pending ICMP error refuses one read of packets; the error itself lies in the error queue.
		 */
		if (got < 0 && got != -EAGAIN && got != -EINTR && !queue->flags &&
		    probe_take_error(sock->fd) == 0)
			got = read_batch(sock, &batch, queue->capacity - total, 0);
		if (got <= 0)
			return total > 0 || got == -EAGAIN || got == -EINTR || got == 0 ? (int)total : got;
		stepped = icmp_check_clock(sock);
		for (int i = 0; i < got; i++) {
			uint32_t *flags = queue->read(sock, &batch.messages[i], queue->records, total++);

			if (stepped)
				*flags |= FLAG_CLOCK_STEPPED;
		}
		if ((uint32_t)got < sock->slots)
			break;
	}
	return (int)total;
}

/* Returns how many packets were read. */
int icmp_receive(struct icmp_socket *sock, struct icmp_reply_record *records, uint32_t capacity)
{
	return drain(sock, &(const struct queue){0, records, capacity, reply_at});
}

/* Empties the error queue: transmit stamps and ICMP errors. Returns how many were read. */
int icmp_notices(struct icmp_socket *sock, struct icmp_notice_record *records, uint32_t capacity)
{
	return drain(sock, &(const struct queue){MSG_ERRQUEUE, records, capacity, notice_at});
}
