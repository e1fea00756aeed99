/**
 * Groups of ranks that sum and exchange native memory. Invariant: a call has one outcome on all ranks, equal bits or a
 * {@link io.brazier.collective.CollectiveException}; it never hangs and never gives different sums.
 *
 * <p>Every pair of ranks exchanges frames in order, through shared memory where they can map the same file and through TCP where
 * they cannot, and has a control connection beside it, which carries aborts and whose end tells that a process is gone. Every
 * frame is headed by generation, sequence, kind and size of the call. Sums are exchanged directly between the pairs and not along
 * a ring: a rank moves the same 2 (n - 1) / n of the bytes, but each sum runs in rank order, so that its bits depend neither on
 * transport nor on placement nor on how a buffer is cut. The price: between two hosts with k ranks each, k times the bytes of a
 * ring cross the network.
 *
 * <p>A group is a communicator of its own, with its own thread, links and numbering of calls, so that a rank's groups never wait for
 * each other. Members invite each other over the communicator the group is made from and then meet as processes did at first. A
 * communicator and its groups fail together: what one rank of one group finds out, all ranks hear.
 *
 * <p>What is protected: a connection is admitted by mutual HMAC-SHA256 over fresh nonces, rank, peer, purpose and generation. On
 * TCP, headers have an HMAC-SHA256 and payloads a keyed universal digest under one, both cut to 128 bits and bound to the frame's
 * number: altered, replayed or reordered frames end the group. Nothing is encrypted: who can read the network reads gradients and
 * weights. Shared memory is a file of mode 0600 that has no name once the group has formed; it carries no tags, for who can write
 * to it is the same user and could write to the process itself.
 */
package io.brazier.collective;
