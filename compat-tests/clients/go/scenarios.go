// What users do with go-zookeeper.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

var hosts []string
var input = bufio.NewReader(os.Stdin)
var open = zk.WorldACL(zk.PermAll)

type quiet struct{}

func (quiet) Printf(string, ...interface{}) {}

func connect() *zk.Conn {
	c, events, err := zk.Connect(hosts, 15*time.Second, zk.WithLogger(quiet{}))
	if err != nil {
		panic(err)
	}
	deadline := time.After(60 * time.Second)
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				go func() {
					for range events {
					}
				}()
				return c
			}
		case <-deadline:
			panic("not connected")
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(holds bool, what string, args ...interface{}) {
	if !holds {
		panic(fmt.Sprintf(what, args...))
	}
}

func next(events <-chan zk.Event) zk.Event {
	select {
	case e := <-events:
		must(e.Err)
		return e
	case <-time.After(30 * time.Second):
		panic("no event came")
	}
}

func basics(c *zk.Conn, root string) {
	path, err := c.Create(root+"/a", []byte("1"), 0, open)
	must(err)
	check(path == root+"/a", "path %s", path)
	data, stat, err := c.Get(root + "/a")
	must(err)
	check(string(data) == "1" && stat.Version == 0, "%s %v", data, stat)
	stat, err = c.Set(root+"/a", []byte("22"), 0)
	must(err)
	check(stat.Version == 1 && stat.DataLength == 2, "%v", stat)
	_, err = c.Set(root+"/a", nil, 0)
	check(errors.Is(err, zk.ErrBadVersion), "%v", err)
	_, err = c.Create(root+"/a", nil, 0, open)
	check(errors.Is(err, zk.ErrNodeExists), "%v", err)
	_, _, err = c.Get(root + "/none")
	check(errors.Is(err, zk.ErrNoNode), "%v", err)
	_, err = c.Create(root+"/a/b", nil, 0, open)
	must(err)
	check(errors.Is(c.Delete(root+"/a", -1), zk.ErrNotEmpty), "not empty")
	path, err = c.Create(root+"/s-", nil, zk.FlagSequence, open)
	must(err)
	check(path == root+"/s-0000000001", "%s", path)
	_, err = c.Sync(root)
	must(err)
	path, err = c.CreateContainer(root+"/c", nil, zk.FlagTTL, open)
	check(err == nil || errors.Is(err, zk.ErrInvalidFlags), "container %s %v", path, err)
}

func configWatch(c *zk.Conn, root string) {
	other := connect()
	defer other.Close()
	_, err := c.Create(root+"/config", []byte("v0"), 0, open)
	must(err)
	for i := 0; i < 10; i++ {
		data, _, events, err := c.GetW(root + "/config")
		must(err)
		check(string(data) == fmt.Sprintf("v%d", i), "%s", data)
		_, err = other.Set(root+"/config", []byte(fmt.Sprintf("v%d", i+1)), -1)
		must(err)
		check(next(events).Type == zk.EventNodeDataChanged, "type")
	}
	_, _, events, err := c.ExistsW(root + "/later")
	must(err)
	_, err = other.Create(root+"/later", nil, 0, open)
	must(err)
	check(next(events).Type == zk.EventNodeCreated, "created")
}

func lock(c *zk.Conn, root string) {
	inside, turns := 0, 0
	var mutex sync.Mutex
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			mine := connect()
			defer mine.Close()
			l := zk.NewLock(mine, root+"/lock", open)
			for j := 0; j < 4; j++ {
				must(l.Lock())
				mutex.Lock()
				inside++
				check(inside == 1, "two hold the lock")
				turns++
				inside--
				mutex.Unlock()
				must(l.Unlock())
			}
		}()
	}
	all.Wait()
	check(turns == 16, "%d turns", turns)
}

// Who has the smallest number leads; the others watch the one before them.
func election(c *zk.Conn, root string) {
	var all []*zk.Conn
	var places []string
	for i := 0; i < 3; i++ {
		mine := connect()
		place, err := mine.CreateProtectedEphemeralSequential(root+"/n-", nil, open)
		must(err)
		all, places = append(all, mine), append(places, place)
	}
	for i := range all {
		if i > 0 {
			there, _, events, err := all[i].ExistsW(places[i-1])
			must(err)
			if there {
				check(next(events).Type == zk.EventNodeDeleted, "the leader left")
			}
		}
		_, err := all[i].Sync(root)
		must(err)
		children, _, err := all[i].Children(root)
		must(err)
		check(len(children) == 3-i, "%v", children)
		if i < 2 {
			all[i].Close()
		}
	}
	all[2].Close()
}

func barrier(c *zk.Conn, root string) {
	var all sync.WaitGroup
	for i := 0; i < 3; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			mine := connect()
			_, err := mine.Create(fmt.Sprintf("%s/m%d", root, i), nil, zk.FlagEphemeral, open)
			must(err)
			for {
				inside, _, events, err := mine.ChildrenW(root)
				must(err)
				if len(inside) == 3 {
					return
				}
				next(events)
			}
		}(i)
	}
	all.Wait()
}

func registry(c *zk.Conn, root string) {
	var servers []*zk.Conn
	for i := 0; i < 3; i++ {
		servers = append(servers, connect())
		address := []byte(fmt.Sprintf("10.0.0.%d:80", i))
		_, err := servers[i].Create(root+"/host-", address, zk.FlagEphemeral|zk.FlagSequence, open)
		must(err)
	}
	_, err := c.Sync(root)
	must(err)
	found, _, events, err := c.ChildrenW(root)
	must(err)
	sort.Strings(found)
	check(len(found) == 3, "%v", found)
	data, _, err := c.Get(root + "/" + found[1])
	must(err)
	check(string(data) == "10.0.0.1:80", "%s", data)
	servers[1].Close()
	check(next(events).Type == zk.EventNodeChildrenChanged, "one left")
	found, _, err = c.Children(root)
	must(err)
	check(len(found) == 2, "%v", found)
	servers[0].Close()
	servers[2].Close()
}

// Many sessions come back at once.
func storm(c *zk.Conn, root string) {
	var all []*zk.Conn
	var ids []int64
	for i := 0; i < 50; i++ {
		mine := connect()
		_, err := mine.Create(fmt.Sprintf("%s/e%d", root, i), nil, zk.FlagEphemeral, open)
		must(err)
		all, ids = append(all, mine), append(ids, mine.SessionID())
	}
	restart()
	for i, mine := range all {
		stat := again(mine, fmt.Sprintf("%s/e%d", root, i))
		check(mine.SessionID() == ids[i] && stat.EphemeralOwner == ids[i], "session %d", i)
		mine.Close()
	}
}

func restart() {
	fmt.Println("@restart")
	_, err := input.ReadString('\n')
	must(err)
}

// The stat of a node that must be there, asked for until there is a connection.
func again(c *zk.Conn, path string) *zk.Stat {
	var err error
	for i := 0; i < 100; i++ {
		var there bool
		var stat *zk.Stat
		there, stat, err = c.Exists(path)
		if err == nil {
			check(there, "the ephemeral is gone")
			return stat
		}
		time.Sleep(200 * time.Millisecond)
	}
	panic(err)
}

func queue(c *zk.Conn, root string) {
	for i := 0; i < 30; i++ {
		_, err := c.Create(root+"/item-", []byte(fmt.Sprint(i)), zk.FlagSequence, open)
		must(err)
	}
	for i := 0; i < 30; i++ {
		items, _, err := c.Children(root)
		must(err)
		sort.Strings(items)
		data, stat, err := c.Get(root + "/" + items[0])
		must(err)
		check(string(data) == fmt.Sprint(i), "%s", data)
		must(c.Delete(root+"/"+items[0], stat.Version))
	}
}

func membership(c *zk.Conn, root string) {
	_, _, events, err := c.ChildrenW(root)
	must(err)
	other := connect()
	_, err = other.Create(root+"/m", []byte("host:1"), zk.FlagEphemeral, open)
	must(err)
	check(next(events).Type == zk.EventNodeChildrenChanged, "joined")
	_, stat, err := c.Exists(root + "/m")
	must(err)
	check(stat.EphemeralOwner == other.SessionID(), "owner")
	_, _, events, err = c.ChildrenW(root)
	must(err)
	other.Close()
	check(next(events).Type == zk.EventNodeChildrenChanged, "left")
}

func multi(c *zk.Conn, root string) {
	results, err := c.Multi(
		&zk.CreateRequest{Path: root + "/a", Data: []byte("1"), Acl: open},
		&zk.SetDataRequest{Path: root + "/a", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: root + "/a", Version: 1},
	)
	must(err)
	check(len(results) == 3 && results[1].Stat.Version == 1, "%v", results)
	_, err = c.Multi(
		&zk.CreateRequest{Path: root + "/b", Acl: open},
		&zk.DeleteRequest{Path: root + "/none", Version: -1},
	)
	check(errors.Is(err, zk.ErrNoNode), "%v", err)
	there, _, err := c.Exists(root + "/b")
	must(err)
	check(!there, "nothing may be done")
}

func acl(c *zk.Conn, root string) {
	bob := connect()
	defer bob.Close()
	must(bob.AddAuth("digest", []byte("bob:secret")))
	_, err := bob.Create(root+"/mine", []byte("x"), 0, zk.DigestACL(zk.PermAll, "bob", "secret"))
	must(err)
	_, err = c.Sync(root)
	must(err)
	_, _, err = c.Get(root + "/mine")
	check(errors.Is(err, zk.ErrNoAuth), "%v", err)
	_, _, err = bob.Get(root + "/mine")
	must(err)
	list, stat, err := bob.GetACL(root + "/mine")
	must(err)
	check(list[0].Scheme == "digest", "%v", list)
	_, err = bob.SetACL(root+"/mine", open, stat.Aversion)
	must(err)
	_, err = c.Sync(root)
	must(err)
	_, _, err = c.Get(root + "/mine")
	must(err)
}

func large(c *zk.Conn, root string) {
	for i := 0; i < 1000; i++ {
		_, err := c.Create(fmt.Sprintf("%s/n%05d", root, i), nil, 0, open)
		must(err)
	}
	children, stat, err := c.Children(root)
	must(err)
	check(len(children) == 1000 && stat.NumChildren == 1000, "%d", len(children))
	big := []byte(strings.Repeat("x", 1000000))
	_, err = c.Create(root+"/big", big, 0, open)
	must(err)
	data, _, err := c.Get(root + "/big")
	must(err)
	check(len(data) == len(big), "%d", len(data))
}

func fourLetters(c *zk.Conn, root string) {
	for _, ok := range zk.FLWRuok(hosts, 10*time.Second) {
		check(ok, "ruok")
	}
	// The module's patterns for srvr and cons are older than Apache 3.7; its own suite checks them.
}

func reconnect(c *zk.Conn, root string) {
	_, err := c.Create(root+"/e", nil, zk.FlagEphemeral, open)
	must(err)
	_, err = c.Create(root+"/w", []byte("0"), 0, open)
	must(err)
	_, _, events, err := c.GetW(root + "/w")
	must(err)
	id := c.SessionID()
	restart()
	stat := again(c, root+"/e")
	check(c.SessionID() == id && stat.EphemeralOwner == id, "another session")
	_, err = c.Set(root+"/w", []byte("1"), -1)
	must(err)
	check(next(events).Type == zk.EventNodeDataChanged, "the watch goes on")
}

func main() {
	hosts = strings.Split(os.Args[1], ",")
	good := true
	for _, s := range []struct {
		name string
		run  func(*zk.Conn, string)
	}{{"basics", basics}, {"configWatch", configWatch}, {"lock", lock}, {"election", election}, {"queue", queue},
		{"membership", membership}, {"barrier", barrier}, {"registry", registry}, {"multi", multi},
		{"acl", acl}, {"large", large}, {"fourLetters", fourLetters},
		{"reconnect", reconnect}, {"storm", storm}} {
		func() {
			defer func() {
				if r := recover(); r != nil {
					fmt.Printf("FAILED %s: %v\n", s.name, r)
					good = false
				}
			}()
			c := connect()
			defer c.Close()
			_, err := c.Create("/"+s.name, nil, 0, open)
			must(err)
			s.run(c, "/"+s.name)
			fmt.Println("ok " + s.name)
		}()
	}
	if !good {
		os.Exit(1)
	}
}
