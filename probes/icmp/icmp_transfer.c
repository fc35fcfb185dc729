// SPDX-License-Identifier: Apache-2.0
/* Moves packets and stamps between one socket and records, in batches. Never blocks. */
#include "icmp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#define CONTROL_BYTES 256
#define IP_TTL_OFFSET 8 /* RFC 791 §3.1 */

struct batch {
	struct mmsghdr messages[ICMP_BATCH_MAX];
	struct iovec vectors[ICMP_BATCH_MAX];
	struct sockaddr_in6 peers[ICMP_BATCH_MAX]; /* large enough for sockaddr_in */
	uint8_t control[ICMP_BATCH_MAX][CONTROL_BYTES];
};

static void set_peer(const struct icmp_socket *sock, struct msghdr *header,
		     const struct icmp_send_record *record)
{
	struct sockaddr_in6 *v6 = header->msg_name;
	struct sockaddr_in *v4 = header->msg_name;

	if (sock->family == 4) {
		*v4 = (struct sockaddr_in){.sin_family = AF_INET};
		memcpy(&v4->sin_addr, record->address, 4);
		header->msg_namelen = sizeof(*v4);
		return;
	}
	*v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_scope_id = record->scope_id};
	memcpy(&v6->sin6_addr, record->address, 16);
	header->msg_namelen = sizeof(*v6);
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
		set_peer(sock, &messages[i].msg_hdr, &records[i]);
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

/* Who sent a packet; of an error, where the quoted packet went. NULL where the kernel does not say. */
static const void *peer_address(const struct icmp_socket *sock, const struct msghdr *header)
{
	const struct sockaddr_in6 *v6 = header->msg_name;
	const struct sockaddr_in *v4 = header->msg_name;

	if (sock->family == 4)
		return header->msg_namelen >= sizeof(*v4) && v4->sin_family == AF_INET ? &v4->sin_addr : NULL;
	return header->msg_namelen >= sizeof(*v6) && v6->sin6_family == AF_INET6 ? &v6->sin6_addr : NULL;
}

/* The kernel's software stamp among the control messages, moved to the socket's monotonic time. */
static bool stamp_of(const struct icmp_socket *sock, struct cmsghdr *control, double *stamp_ns)
{
	struct timespec stamp;
	int64_t real;

	if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_TIMESTAMPING)
		return false;
	memcpy(&stamp, CMSG_DATA(control), sizeof(stamp));
	if (stamp.tv_sec == 0 && stamp.tv_nsec == 0)
		return false;
	real = (int64_t)stamp.tv_sec * 1000000000ll + stamp.tv_nsec;
	*stamp_ns = (double)(real - sock->clock_offset_ns - (int64_t)sock->base_ns);
	return true;
}

static uint32_t hop_limit_of(struct cmsghdr *control)
{
	int value = 0;

	if ((control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TTL) ||
	    (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_HOPLIMIT))
		memcpy(&value, CMSG_DATA(control), sizeof(value));
	return (uint32_t)value;
}

static void read_reply(struct icmp_socket *sock, struct mmsghdr *message, struct icmp_reply_record *reply)
{
	struct msghdr *header = &message->msg_hdr;
	struct icmp_origin origin = {header->msg_iov->iov_base, message->msg_len, peer_address(sock, header)};
	struct cmsghdr *control;

	reply->hop_limit = 0;
	reply->flags = FLAG_NO_STAMP;
	for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
		if (stamp_of(sock, control, &reply->received_ns))
			reply->flags &= ~(uint32_t)FLAG_NO_STAMP;
		if (hop_limit_of(control))
			reply->hop_limit = hop_limit_of(control);
	}
	if (reply->flags & FLAG_NO_STAMP)
		reply->received_ns = (double)(icmp_monotonic_ns() - sock->base_ns);
	if (sock->family == 4 && sock->kind == KIND_RAW) {
		uint32_t skip = origin.length ? (origin.packet[0] & 0xfu) * 4u : 0;

		reply->hop_limit = origin.length > IP_TTL_OFFSET ? origin.packet[IP_TTL_OFFSET] : 0;
		skip = skip < origin.length ? skip : origin.length;
		origin.packet += skip;
		origin.length -= skip;
	}
	icmp_classify(sock, &origin, reply);
}

/* Returns how many packets were read; fewer than `capacity` means the queue is empty. */
int icmp_receive(struct icmp_socket *sock, struct icmp_reply_record *records, uint32_t capacity)
{
	static __thread struct batch batch;
	uint32_t total = 0;

	while (total < capacity) {
		int got = read_batch(sock, &batch, capacity - total, 0);
		bool stepped;

		/* A pending ICMP error refuses one read; the error itself lies in the error queue. */
		if (got < 0 && got != -EAGAIN && got != -EINTR && icmp_take_error(sock) == 0)
			got = read_batch(sock, &batch, capacity - total, 0);
		if (got <= 0)
			return total > 0 || got == -EAGAIN || got == -EINTR || got == 0 ? (int)total : got;
		stepped = icmp_check_clock(sock);
		for (int i = 0; i < got; i++) {
			read_reply(sock, &batch.messages[i], &records[total + (uint32_t)i]);
			if (stepped)
				records[total + (uint32_t)i].flags |= FLAG_CLOCK_STEPPED;
		}
		total += (uint32_t)got;
		if ((uint32_t)got < sock->slots)
			break;
	}
	return (int)total;
}

static void read_error(struct icmp_socket *sock, struct mmsghdr *message,
		       const struct sock_extended_err *error, struct icmp_notice_record *notice)
{
	struct icmp_origin origin = {message->msg_hdr.msg_iov->iov_base, message->msg_len,
				     peer_address(sock, &message->msg_hdr)};
	const struct sockaddr_in6 *v6 = (const void *)SO_EE_OFFENDER(error);
	const struct sockaddr_in *v4 = (const void *)SO_EE_OFFENDER(error);

	notice->error = error->ee_errno;
	notice->origin = error->ee_origin;
	notice->type = error->ee_type;
	notice->code = error->ee_code;
	notice->mtu = error->ee_errno == EMSGSIZE ? error->ee_info : 0;
	if (v4->sin_family == AF_INET)
		memcpy(notice->offender, &v4->sin_addr, 4);
	else if (v6->sin6_family == AF_INET6)
		memcpy(notice->offender, &v6->sin6_addr, 16);
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
		struct sock_extended_err error;

		stamped |= stamp_of(sock, control, &notice->stamp_ns);
		if (!((control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_RECVERR) ||
		      (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_RECVERR)))
			continue;
		memcpy(&error, CMSG_DATA(control), sizeof(error));
		if (error.ee_origin != SO_EE_ORIGIN_TIMESTAMPING) {
			read_error(sock, message, (const void *)CMSG_DATA(control), notice);
			continue;
		}
		notice->kind = NOTICE_SENT;
		notice->stamp_id = error.ee_data;
	}
	if (notice->kind == NOTICE_SENT && !stamped)
		notice->flags |= FLAG_NO_STAMP;
}

/* Empties the error queue: transmit stamps and ICMP errors. Returns how many were read. */
int icmp_notices(struct icmp_socket *sock, struct icmp_notice_record *records, uint32_t capacity)
{
	static __thread struct batch batch;
	uint32_t total = 0;

	while (total < capacity) {
		int got = read_batch(sock, &batch, capacity - total, MSG_ERRQUEUE);
		bool stepped;

		if (got <= 0)
			return total > 0 || got == -EAGAIN || got == -EINTR || got == 0 ? (int)total : got;
		stepped = icmp_check_clock(sock);
		for (int i = 0; i < got; i++) {
			read_notice(sock, &batch.messages[i], &records[total + (uint32_t)i]);
			if (stepped)
				records[total + (uint32_t)i].flags |= FLAG_CLOCK_STEPPED;
		}
		total += (uint32_t)got;
		if ((uint32_t)got < sock->slots)
			break;
	}
	return (int)total;
}
