package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// child makes a child of its own group, which a Ctrl-C on the terminal does not
// reach, and which ends with its parent even if that is killed.
func child(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

// unprivileged has a command run as somebody else than root, whom dir is given
// to: PostgreSQL refuses root. Everybody else stays who they are.
func unprivileged(dir string, cmds ...*exec.Cmd) error {
	if os.Geteuid() != 0 {
		return nil
	}
	who, err := somebody("postgres", "nobody")
	if err != nil {
		return err
	}
	for _, cmd := range cmds {
		cmd.SysProcAttr.Credential = who
	}
	return os.Chown(dir, int(who.Uid), int(who.Gid))
}

// somebody returns the first of some users that is there.
func somebody(names ...string) (*syscall.Credential, error) {
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		gid, failed := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err, failed); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("it refuses root, and there is no user of %q", names)
}
