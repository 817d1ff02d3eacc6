package sidecar

import (
	"os"
	"testing"
)

// roleVariable makes the test binary play one of the pod's processes.
const roleVariable = "SEMANTIC_TEST_ROLE"

func TestMain(m *testing.M) {
	args := os.Args
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "writer":
		playWriter(args[1], args[2], args[3])
	case "sidecar":
		playSidecar(args[1], args[2])
	case "shipper":
		playShipper(args[1], args[2])
	case "trial":
		playTrial(args[1])
	case "full disk":
		playFullDisk(args[1], args[2])
	case "ship on full disk":
		playFullDiskShipping(args[1])
	case "faults":
		playFaults(args[1], args[2])
	case "no room":
		playNoRoom(args[1], args[2])
	}
}
