# Both ends of mptcp_connect on the loopback device; each sends the other a file.
modes="poll mmap sendfile"
./mptcp_connect -h 2>&1 | grep -q splice && modes="$modes splice"
head -c 1000000 /dev/urandom > to
head -c 700000 /dev/urandom > back
port=10000 number=0 failed=0
for mode in $modes; do
	for protocol in MPTCP TCP; do
		port=$((port + 1)) number=$((number + 1))
		listening=":$(printf %04X $port) 00000000:0000 0A"
		./mptcp_connect -l -t 20 -p $port -s $protocol -m $mode 127.0.0.1 \
			< back > got_to 2> log_server &
		for try in 1 2 3 4 5 6 7 8 9 10; do
			grep -q "$listening" /proc/net/tcp && break
			sleep 0.1
		done
		./mptcp_connect -t 20 -p $port -s $protocol -m $mode 127.0.0.1 \
			< to > got_back 2> log_client
		client=$?
		wait $!
		server=$?
		if [ "$client$server" = 00 ] && cmp to got_to && cmp back got_back; then
			echo "ok $number $protocol.$mode"
		else
			cat log_server log_client >&2
			echo "exit status of the server $server, of the client $client" >&2
			echo "not ok $number $protocol.$mode"
			failed=1
		fi
	done
done
echo 1..$number
exit $failed
