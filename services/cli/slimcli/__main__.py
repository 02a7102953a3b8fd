"""`python -m slimcli`: as `slimwire`, also where no script was installed."""

from slimcli.app import main

if __name__ == "__main__":
    main()
